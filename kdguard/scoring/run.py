"""One scoring run, from exchanges to findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa

from kdguard.features.lateness import OnTime
from kdguard.scoring.baseline import Baseline
from kdguard.scoring.epochs import score_log
from kdguard.scoring.findings import Policy, conclude
from kdguard.scoring.plots import figures
from kdguard.scoring.spill import Spill
from kdguard.verdict import Findings


def score_exchanges(
    exchanges: Iterable[pa.RecordBatch],
    baseline: Baseline,
    *,
    accounts: pa.Table | None = None,
    alpha: float = 0.01,
    fdr: float = 0.1,
    workers: int = 1,
    lateness: timedelta | None = None,
    plots: bool = False,
) -> Findings:
    """Score a log against a baseline; see `kdguard.score`."""
    policy = Policy(alpha=alpha, fdr=fdr)
    punctual = None if lateness is None else OnTime(exchanges, lateness)
    with Spill() as spill:
        scores, tally = score_log(
            exchanges if punctual is None else punctual,
            baseline,
            spill,
            accounts=accounts,
            alpha=alpha,
            workers=workers,
        )
        findings = conclude(scores, baseline, spill, tally, policy)
        if plots:
            findings = replace(
                findings, plots=dict(findings.plots) | figures(findings, scores, baseline, spill, alpha)
            )
    late = None if punctual is None else punctual.late
    return replace(findings, summary=dict(findings.summary) | {"late_exchanges": late})
