"""Score a log: who is extracting the model?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.scan import Trajectories
from kdguard.scoring.baseline import HIDDEN_KIND, POOLED, Baseline, Kind, fused_values
from kdguard.scoring.facts import UNVERIFIED, Facts, gather
from kdguard.scoring.pipeline import Profiles, Tally, encode_into, fold
from kdguard.scoring.ranking import first_looks, running, running_minimum
from kdguard.scoring.spill import Spill
from kdguard.scoring.standardise import contributions
from kdguard.stats.drift import any_drift, bulk_drift_p

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DRIFT_LEVEL = 0.01


@dataclass(frozen=True, slots=True)
class AccountScores:
    """Scores of m accounts, aligned with `facts`.

    Attributes:
        facts: Who they are.
        profiles: What was folded of them.
        p_value: Smallest rank so far in the account's own kind, and, where it is not verified, at least a third of
            its rank in every kind it might belong to; NaN = abstained.
        p_pooled: The same against everybody, by scores standardised within the account's own kind.
        p_floor: Smallest p_value possible.
        score: Fused score where `p_value` was reached, log10 of a mean of bets against the deciding kind.
        kind: Name of the deciding kind.
        calibration_size: References behind `p_value`.
        contributions: Shares of the fused score, by output, where p_value was reached, shape (m, k).
        outputs: Raw detector outputs there, shape (m, k).
        first_alarm: Index into the trajectories of the first row with p <= alpha, -1 = none.
        drift: p-value of the drift test, by kind.
        p_by_checkpoint: Running p_value of each trajectory row, shape (t,).
    """

    facts: Facts
    profiles: Profiles
    p_value: Floats
    p_pooled: Floats
    p_floor: Floats
    score: Floats
    kind: npt.NDArray[np.object_]
    calibration_size: Ints
    contributions: Floats
    outputs: Floats
    first_alarm: Ints
    drift: dict[str, float]
    p_by_checkpoint: Floats

    @property
    def suspended(self) -> bool:
        """Whether drift in the bulk of verified accounts suspends the guarantee."""
        return any_drift(np.array(list(self.drift.values())), DRIFT_LEVEL)


def fold_log(
    exchanges: Iterable[pa.RecordBatch], baseline: Baseline, spill: Spill, *, workers: int = 1
) -> tuple[Profiles, Tally]:
    """Encode a log into the spill and fold it."""
    tally = Tally()
    encode_into(spill, tally.count(exchanges), baseline.suite.encoder, workers)
    return fold(spill, baseline.suite.detectors, workers), tally


def score_accounts(
    profiles: Profiles, baseline: Baseline, *, accounts: pa.Table | None = None, alpha: float = 0.01
) -> AccountScores:
    """Rank folded accounts among the baseline's references.

    Args:
        profiles: Folded log.
        baseline: References.
        accounts: Accounts table; an account it does not know is unverified.
        alpha: Level at which an alarm would have been raised.
    """
    facts = gather(profiles.account_id, profiles.org, accounts)
    rows = profiles.trajectories
    account = np.searchsorted(facts.subject, rows.subject)
    size, count = len(facts), len(rows.subject)
    candidate = _Candidates(count)
    strata, stratum_of = np.unique(facts.stratum.astype(str), return_inverse=True)
    for name in dict.fromkeys(baseline.kind_of.values()):
        possible = np.array([name in baseline.candidates(stratum) for stratum in strata])
        mine = possible[stratum_of][account]
        if mine.any():
            part = rows.take(mine)
            values = fused_values(baseline.kinds[name], part, baseline.suite.weight_vector)
            ranks, floor = _rank(baseline.kinds[name], part, values, account[mine], facts)
            own = np.array([baseline.own_kind(stratum) == name for stratum in strata])
            leniency = np.where(own[stratum_of][account[mine]], 1.0, HIDDEN_KIND)
            candidate.offer(name, mine, ranks / leniency, floor / leniency, values)
    p_rows = running_minimum(candidate.p_value, account)
    own_values, own_p = _own_kind(baseline, rows, account, facts)
    last = _last_row(account, size)
    best = _best_row(p_rows, account, last, size)
    reached = last >= 0
    alarm = first_alarm(p_rows, account, size, alpha)
    kind = np.full(size, "", dtype=object)
    kind[reached] = candidate.kind[best[reached]]
    shares, outputs = _contributions(baseline, rows, best, kind)
    return AccountScores(
        facts=facts,
        profiles=profiles,
        p_value=_at(p_rows, last),
        p_pooled=_at(running_minimum(own_p, account), last),
        p_floor=_at(candidate.floor, last),
        score=_at(candidate.value, best),
        kind=kind,
        calibration_size=np.array([len(baseline.kinds[str(k)].panel) if k else 0 for k in kind]),
        contributions=shares,
        outputs=outputs,
        first_alarm=alarm,
        drift=_drift(baseline, rows, own_values, account, facts),
        p_by_checkpoint=p_rows,
    )


class _Candidates:
    """The least favourable kind so far, for every trajectory row."""

    def __init__(self, count: int) -> None:
        self.p_value = np.zeros(count)
        self.floor = np.zeros(count)
        self.value = np.zeros(count)
        self.kind = np.full(count, "", dtype=object)

    def offer(
        self, name: str, mine: npt.NDArray[np.bool_], p_value: Floats, floor: Floats, value: Floats
    ) -> None:
        """Keep a kind's rank where it is the largest."""
        at = np.flatnonzero(mine)
        self.floor[at] = np.maximum(self.floor[at], floor)
        worse = at[p_value >= self.p_value[at]]
        take = p_value >= self.p_value[at]
        self.p_value[worse] = p_value[take]
        self.value[worse] = value[take]
        self.kind[worse] = name


def _rank(
    kind: Kind, rows: Trajectories, values: Floats, account: Ints, facts: Facts
) -> tuple[Floats, Floats]:
    """Anytime rank of each trajectory row in one kind, with its floor."""
    bin_of = kind.panel.bins.of(rows.checkpoint)
    ranks = kind.panel.rank(running(values, account, bin_of), bin_of, facts.owner[account])
    ranks = np.minimum(running_minimum(ranks, account), 1.0)
    return ranks, kind.panel.floor(bin_of + 1)


def _own_kind(baseline: Baseline, rows: Trajectories, account: Ints, facts: Facts) -> tuple[Floats, Floats]:
    """Scores standardised within each account's own kind, and their rank among everybody."""
    strata, stratum_of = np.unique(facts.stratum.astype(str), return_inverse=True)
    own = np.array([baseline.own_kind(stratum) for stratum in strata], dtype=object)
    row_kind = own[stratum_of][account]
    values = np.zeros(len(rows.subject))
    for name in set(own.tolist()):
        mine = row_kind == name
        if mine.any():
            kind = baseline.kinds[name]
            values[mine] = fused_values(kind, rows.take(mine), baseline.suite.weight_vector) - kind.typical
    panel = baseline.kinds[POOLED].panel
    bin_of = panel.bins.of(rows.checkpoint)
    ranks = panel.rank(running(values, account, bin_of), bin_of, facts.owner[account])
    return values, np.minimum(ranks, 1.0)


def _drift(
    baseline: Baseline, rows: Trajectories, values: Floats, account: Ints, facts: Facts
) -> dict[str, float]:
    """Compare the first looks at verified accounts, one an owner, with those at the references of their kind."""
    p_values = {}
    for name in dict.fromkeys(baseline.kind_of.values()):
        strata = [s for s, kind in baseline.kind_of.items() if kind == name and s != UNVERIFIED]
        kind = baseline.kinds[name]
        wanted = np.isin(facts.stratum.astype(str), strata) & facts.verified
        keep = wanted[account]
        if not strata or not keep.any():
            continue
        early = first_looks(values[keep] + kind.typical, account[keep], rows.checkpoint[keep], len(facts))
        present = np.flatnonzero(~np.isnan(early))
        _, one = np.unique(facts.owner[present], return_index=True)
        p_values[name] = bulk_drift_p(early[present[one]], kind.panel.early)
    return p_values


def _contributions(
    baseline: Baseline, rows: Trajectories, best: Ints, kind: npt.NDArray[np.object_]
) -> tuple[Floats, Floats]:
    width = len(baseline.suite.outputs)
    shares, outputs = np.zeros((len(best), width)), np.full((len(best), width), np.nan)
    for name in {str(k) for k in kind if k}:
        mine = np.flatnonzero(kind == name)
        part = rows.take(best[mine])
        shares[mine] = contributions(baseline.kinds[name].scale.rarity(part), baseline.suite.weight_vector)
        outputs[mine] = part.scores
    return shares, outputs


def _last_row(account: Ints, size: int) -> Ints:
    last = np.full(size, -1)
    last[account] = np.arange(len(account))
    return last


def _best_row(p_rows: Floats, account: Ints, last: Ints, size: int) -> Ints:
    """First row at which an account's final p-value was reached."""
    best = np.full(size, -1)
    final = p_rows[last[account]] == p_rows if len(account) else np.empty(0, np.bool_)
    at = np.flatnonzero(final)[::-1]
    best[account[at]] = at
    return best


def first_alarm(p_rows: Floats, account: Ints, size: int, alpha: float) -> Ints:
    """First trajectory row of each account with p <= alpha, -1 = none, shape (m,)."""
    first = np.full(size, -1)
    at = np.flatnonzero(p_rows <= alpha)[::-1]
    first[account[at]] = at
    return first


def _at(values: Floats, rows: Ints) -> Floats:
    if not len(values):
        return np.full(len(rows), np.nan)
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)
