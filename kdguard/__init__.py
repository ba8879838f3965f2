"""Distillation-attack detection and provenance auditing.

>>> import kdguard
>>> from kdguard.detectors import default_suite
>>> log = kdguard.read("logs/*.jsonl.gz")                                        # doctest: +SKIP
>>> baseline = kdguard.learn_baseline(log, accounts, default_suite())           # doctest: +SKIP
>>> findings = kdguard.score(kdguard.read("today.jsonl"), baseline, accounts)   # doctest: +SKIP

Importing this package loads neither torch nor fastapi, opens no file and no connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from kdguard.evidence import Abstention, Evidence, Guarantee
from kdguard.verdict import Decision, Findings, Verdict

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from kdguard.readers.log import Exchanges
    from kdguard.scoring.baseline import Baseline
    from kdguard.scoring.suite import Suite

__version__ = "0.1.0"
__all__ = [
    "Abstention",
    "Decision",
    "Evidence",
    "Findings",
    "Guarantee",
    "Verdict",
    "learn_baseline",
    "read",
    "score",
]


def read(
    paths: str | Path | list[str] | list[Path],
    format: str = "auto",
    *,
    account: str | None = None,
    time: str | None = None,
) -> Exchanges:
    """Name a log to be read: files, globs, directories or `-`. Nothing is read before it is iterated over."""
    from kdguard.readers.log import open_log

    return open_log(paths, format, account=account, time=time)


def learn_baseline(
    exchanges: Iterable[pa.RecordBatch],
    accounts: pa.Table | pd.DataFrame | None,
    detectors: Suite,
    *,
    exclude: Collection[str] = (),
    seed: int = 0,
    workers: int = 1,
    lateness: timedelta | None = None,
) -> Baseline:
    """Learn what honest traffic looks like; see `kdguard.scoring.baseline.learn_baseline`.

    Where scoring is to leave out late exchanges, the baseline should too: see `lateness` of `score`.
    """
    from kdguard.features.lateness import OnTime
    from kdguard.scoring.baseline import learn_baseline as learn

    table = _accounts(accounts)
    exchanges = exchanges if lateness is None else OnTime(exchanges, lateness)
    return learn(exchanges, detectors, accounts=table, exclude=exclude, seed=seed, workers=workers)


def score(
    exchanges: Iterable[pa.RecordBatch],
    baseline: Baseline,
    accounts: pa.Table | pd.DataFrame | None = None,
    *,
    alpha: float = 0.01,
    fdr: float = 0.1,
    workers: int = 1,
    lateness: timedelta | None = None,
    plots: bool = False,
) -> Findings:
    """Score a log against a baseline: verdicts on accounts and clusters, most suspicious first.

    Args:
        exchanges: Batches in the schema of `kdguard.exchanges.schema.EXCHANGES`, e.g. from `read`.
        baseline: From `learn_baseline` or `kdguard.scoring.store.load_baseline`.
        accounts: Accounts table.
        alpha: Chance of a review for one honest account.
        fdr: False discovery rate among flagged owners.
        workers: Processes.
        lateness: Leave out exchanges that arrive later than this, as a service must; they are counted in
            `summary["late_exchanges"]`. None takes the log as complete: then the order of arrival changes nothing.
        plots: Also compute the numbers behind a report's figures.
    """
    from kdguard.scoring.run import score_exchanges

    return score_exchanges(
        exchanges,
        baseline,
        accounts=_accounts(accounts),
        alpha=alpha,
        fdr=fdr,
        workers=workers,
        lateness=lateness,
        plots=plots,
    )


def _accounts(accounts: pa.Table | pd.DataFrame | None) -> pa.Table | None:
    import pandas as pd

    if isinstance(accounts, pd.DataFrame):
        from kdguard.scoring.facts import accounts_table

        return accounts_table(accounts)
    return accounts
