"""Score a log: who is extracting the model?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.scan import Trajectories
from kdguard.scoring.baseline import HIDDEN_KIND, POOLED, Baseline, Kind, fused_values
from kdguard.scoring.facts import UNVERIFIED, Facts, gather, join_facts
from kdguard.scoring.pipeline import Profiles, Tally, encode_into, fold, join_profiles
from kdguard.scoring.ranking import first_looks, running, running_minimum
from kdguard.scoring.spill import Spill
from kdguard.scoring.standardise import contributions
from kdguard.stats.drift import any_drift, bulk_drift_p

Codes = npt.NDArray[np.uint64]
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
        shown: Row of an account in `contributions` and `outputs`, -1 = abstained.
        contributions: Shares of the fused score, by output, where p_value was reached, shape (r, k).
        outputs: Raw detector outputs there, shape (r, k).
        first_alarm: Index into the trajectories of the first row with p <= alpha, -1 = none.
        drift: p-value of the drift test, by kind.
        p_by_checkpoint: Running p_value of each trajectory row, shape (t,).

    Of the trajectories in `profiles` only rows that say something new are kept, without their scores: each account's
    first and last, and those at which its running p-value fell.
    """

    facts: Facts
    profiles: Profiles
    p_value: Floats
    p_pooled: Floats
    p_floor: Floats
    score: Floats
    kind: npt.NDArray[np.object_]
    calibration_size: Ints
    shown: Ints
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
    return score_slices([profiles], baseline, accounts=accounts, alpha=alpha)


def score_slices(
    slices: Iterable[Profiles], baseline: Baseline, *, accounts: pa.Table | None = None, alpha: float = 0.01
) -> AccountScores:
    """Rank accounts as `score_accounts` does, holding the trajectories of one slice at a time.

    Args:
        slices: Profiles of disjoint sets of accounts, subjects ascending from one to the next.
        baseline: References.
        accounts: Accounts table; an account it does not know is unverified.
        alpha: Level at which an alarm would have been raised.
    """
    parts = [_score_slice(profiles, baseline, accounts) for profiles in slices]
    if not parts:
        nobody = join_profiles([], len(baseline.suite.outputs))
        parts = [_score_slice(nobody, baseline, accounts)]
    return _joined(parts, baseline, alpha)


@dataclass(frozen=True, slots=True)
class _Looks:
    """First looks at the verified accounts of one kind: their owners, and their scores."""

    owner: Codes
    early: Floats


@dataclass(frozen=True, slots=True)
class _Slice:
    """Scores of a slice's accounts; names as in `AccountScores`."""

    facts: Facts
    profiles: Profiles
    p_value: Floats
    p_pooled: Floats
    p_floor: Floats
    score: Floats
    kind: npt.NDArray[np.object_]
    contributions: Floats
    outputs: Floats
    p_by_checkpoint: Floats
    looks: dict[str, _Looks]


def _score_slice(profiles: Profiles, baseline: Baseline, accounts: pa.Table | None) -> _Slice:
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
    kind = np.full(size, "", dtype=object)
    kind[reached] = candidate.kind[best[reached]]
    shares, outputs = _contributions(baseline, rows, best[reached], kind[reached])
    told = _told(p_rows, account)
    return _Slice(
        facts=facts,
        profiles=replace(profiles, trajectories=_without_scores(rows.take(told))),
        p_value=_at(p_rows, last),
        p_pooled=_at(running_minimum(own_p, account), last),
        p_floor=_at(candidate.floor, last),
        score=_at(candidate.value, best),
        kind=kind,
        contributions=shares,
        outputs=outputs,
        p_by_checkpoint=p_rows[told],
        looks=_looks(baseline, rows, own_values, account, facts),
    )


def _told(p_rows: Floats, account: Ints) -> Ints:
    """Rows that say something new: each account's first and last, and those at which its running p-value fell."""
    changes = account[1:] != account[:-1]
    new = np.concatenate(([True], changes | (p_rows[1:] < p_rows[:-1])))[: len(account)]
    last = np.concatenate((changes, [True]))[: len(account)]
    return np.flatnonzero(new | last)


def _without_scores(rows: Trajectories) -> Trajectories:
    return replace(rows, scores=np.empty((len(rows.subject), 0)))


def _joined(parts: Sequence[_Slice], baseline: Baseline, alpha: float) -> AccountScores:
    def over_parts(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    facts = join_facts([part.facts for part in parts])
    profiles = join_profiles([part.profiles for part in parts], 0)
    p_rows, p_value, kind = over_parts("p_by_checkpoint"), over_parts("p_value"), over_parts("kind")
    reached = kind != ""
    account = np.searchsorted(facts.subject, profiles.trajectories.subject)
    sizes = {name: len(one.panel) for name, one in baseline.kinds.items()}
    return AccountScores(
        facts=facts,
        profiles=profiles,
        p_value=p_value,
        p_pooled=over_parts("p_pooled"),
        p_floor=over_parts("p_floor"),
        score=over_parts("score"),
        kind=kind,
        calibration_size=np.array([sizes.get(name, 0) for name in kind], np.int64),
        shown=np.where(reached, np.cumsum(reached) - 1, -1),
        contributions=over_parts("contributions"),
        outputs=over_parts("outputs"),
        first_alarm=first_alarm(p_rows, account, len(facts), alpha),
        drift=_drift(baseline, [part.looks for part in parts]),
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


def _looks(
    baseline: Baseline, rows: Trajectories, values: Floats, account: Ints, facts: Facts
) -> dict[str, _Looks]:
    """First looks at verified accounts, by kind; kinds of which there is none are left out."""
    looks = {}
    for name in dict.fromkeys(baseline.kind_of.values()):
        strata = [s for s, kind in baseline.kind_of.items() if kind == name and s != UNVERIFIED]
        wanted = np.isin(facts.stratum.astype(str), strata) & facts.verified
        keep = wanted[account]
        if not strata or not keep.any():
            continue
        typical = baseline.kinds[name].typical
        early = first_looks(values[keep] + typical, account[keep], rows.checkpoint[keep], len(facts))
        present = np.flatnonzero(~np.isnan(early))
        looks[name] = _Looks(facts.owner[present], early[present])
    return looks


def _drift(baseline: Baseline, looks: Sequence[Mapping[str, _Looks]]) -> dict[str, float]:
    """Compare the first looks at verified accounts, one an owner, with those at the references of their kind."""
    p_values = {}
    for name in dict.fromkeys(baseline.kind_of.values()):
        mine = [one[name] for one in looks if name in one]
        if mine:
            _, one_each = np.unique(np.concatenate([one.owner for one in mine]), return_index=True)
            early = np.concatenate([one.early for one in mine])[one_each]
            p_values[name] = bulk_drift_p(early, baseline.kinds[name].panel.early)
    return p_values


def _contributions(
    baseline: Baseline, rows: Trajectories, best: Ints, kind: npt.NDArray[np.object_]
) -> tuple[Floats, Floats]:
    """Shares of the fused score and raw outputs at some rows, each by its deciding kind."""
    width = len(baseline.suite.outputs)
    shares, outputs = np.zeros((len(best), width)), np.full((len(best), width), np.nan)
    for name in set(kind.tolist()):
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
