"""One scoring run, from exchanges to findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from kdguard.scoring.baseline import Baseline
from kdguard.scoring.findings import Policy, conclude
from kdguard.scoring.plots import figures
from kdguard.scoring.score import fold_log, score_accounts
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
    plots: bool = False,
) -> Findings:
    """Score a log against a baseline; see `kdguard.score`."""
    policy = Policy(alpha=alpha, fdr=fdr)
    with Spill() as spill:
        profiles, tally = fold_log(exchanges, baseline, spill, workers=workers)
        scores = score_accounts(profiles, baseline, accounts=accounts, alpha=alpha)
        findings = conclude(scores, baseline, spill, tally, policy)
        if plots:
            findings = replace(
                findings, plots=dict(findings.plots) | figures(findings, scores, baseline, spill, alpha)
            )
    return findings
