"""From the state of a tenant to findings, by the functions of the batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from kdguard.scoring.baseline import Baseline
from kdguard.scoring.epochs import spend
from kdguard.scoring.findings import Policy, conclude, look_for_groups
from kdguard.scoring.groups.names import Naming, founding_names
from kdguard.scoring.groups.verdicts import GroupVerdicts
from kdguard.scoring.pipeline import Tally
from kdguard.scoring.score import AccountScores, score_accounts
from kdguard.scoring.spill import Signals
from kdguard.service.live.parts import Counts
from kdguard.service.live.standing import nobody
from kdguard.service.live.tenant_state import TenantState
from kdguard.verdict import Findings


@dataclass(frozen=True)
class Assessment:
    """What was concluded at one look.

    Attributes:
        findings: Verdicts and summary.
        groups: Groups, to be used again until they are looked for anew.
        scores: The numbers behind.
    """

    findings: Findings
    groups: GroupVerdicts
    scores: AccountScores


def scored(state: TenantState, baseline: Baseline, accounts: pa.Table | None, alpha: float) -> AccountScores:
    """Rank all accounts, each epoch on its own, as `kdguard.scoring.epochs.score_log` does."""
    folds = state.now() or {0: nobody(baseline.suite.detectors)}
    epochs = [
        score_accounts(folds[epoch].profiles(), baseline, accounts=accounts, alpha=alpha)
        for epoch in sorted(folds)
    ]
    return epochs[0] if len(epochs) == 1 else spend(epochs, accounts, alpha)


def assess(
    state: TenantState,
    baseline: Baseline,
    accounts: pa.Table | None,
    signals: Signals,
    counts: Counts,
    policy: Policy,
    groups: GroupVerdicts | None = None,
    names: Naming = founding_names,
) -> Assessment:
    """Conclude on all accounts.

    Args:
        state: The tenant's.
        baseline: What to rank among.
        accounts: The accounts table.
        signals: The log's.
        counts: Of all parts.
        policy: Levels.
        groups: Groups as they were last found; None = look for them now.
        names: What groups that are looked for are called.
    """
    scores = scored(state, baseline, accounts, policy.alpha)
    groups = groups or look_for_groups(scores, baseline, signals, policy, names)
    tally = Tally(counts.exchanges, counts.unattributed)
    findings = conclude(scores, baseline, signals, tally, policy, groups)
    findings = replace(findings, summary=dict(findings.summary) | {"late_exchanges": counts.late})
    return Assessment(findings, groups, scores)
