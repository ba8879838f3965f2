"""Finding the groups of a log: formed on half 0, tested on half 1, corrected for how many were looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kdguard.scoring.facts import Facts
from kdguard.scoring.groups.attributes import Attribute, shared_attributes
from kdguard.scoring.groups.candidates import Candidates, candidates
from kdguard.scoring.groups.habits import Habits, habits_of
from kdguard.scoring.groups.merge import merged
from kdguard.scoring.groups.pooled import half_one
from kdguard.scoring.groups.reference import ENOUGH_GROUPS, GroupRanks, GroupReference
from kdguard.scoring.groups.score import GroupScores, score_groups
from kdguard.scoring.groups.ties import Scene
from kdguard.scoring.groups.traces import Traces

if TYPE_CHECKING:
    from kdguard.scoring.baseline import Kind
    from kdguard.scoring.suite import Suite

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SHARES = {True: 0.7, False: 0.3}
"""Share of the false discovery rate for groups that span owners and for those within one, fixed beforehand."""
REVIEW_RATE = 0.5
"""Share of that rate at which `p_pooled` selects: it has no guarantee, and accounts spend the rate too."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A group as it is reported.

    Attributes:
        pieces: Rows of the candidates it was put together from, most surprising first.
        members: Hashes of its accounts, ascending.
    """

    pieces: tuple[int, ...]
    members: Codes


@dataclass(frozen=True)
class Groups:
    """Groups of a log that were looked at.

    Attributes:
        candidates: Who they are.
        habits: Half-0 habits of owners; rows of the candidates' graph.
        scores: What they showed on half 1.
        ranks: How rare that is among honest groups.
        selected: Selected at half of the false discovery rate by `p_pooled`, or `certain`; a review.
        certain: Selected at the rate by `p_value`, and ranked among at least 99 honest groups; may lead to a flag.
        attributes: What the members of each reported group share.
        pair_ties: Ties that are no shared value, in words, with their column in the graph.
    """

    candidates: Candidates
    habits: Habits
    scores: GroupScores
    ranks: GroupRanks
    selected: Bools
    certain: Bools
    attributes: tuple[tuple[Attribute, ...], ...] = ()
    pair_ties: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def order(self) -> Ints:
        """Selected groups, most surprising first; one within an owner that a selected wider group holds is left out."""
        order = np.lexsort((-np.nan_to_num(self.scores.score, nan=-np.inf), self.ranks.p_pooled))
        chosen = order[self.selected[order]]
        wide = [self.candidates.members[at] for at in chosen if self.candidates.across[at]]
        held = np.concatenate([np.empty(0, np.uint64), *wide])
        keep = [
            self.candidates.across[at] or not np.isin(self.candidates.members[at], held).any()
            for at in chosen
        ]
        return chosen[np.array(keep, np.bool_)]

    def reported(self) -> tuple[Reported, ...]:
        """Selected groups with the pieces of one campaign put together, most surprising first."""
        rows = self.order
        nodes = [np.unique(self._nodes(at)) for at in rows]
        joined = sorted(merged(self.habits, nodes))
        return tuple(
            Reported(tuple(int(rows[at]) for at in part), self._union(rows[list(part)])) for part in joined
        )

    def _nodes(self, at: int) -> Ints:
        return self.habits.node[np.searchsorted(self.habits.subject, self.candidates.members[at])]

    def _union(self, rows: Ints) -> Codes:
        return np.unique(np.concatenate([self.candidates.members[at] for at in rows]))


def find_groups(
    folders: Sequence[Path],
    facts: Facts,
    suite: Suite,
    kind: Kind,
    reference: GroupReference,
    *,
    fdr: float = 0.1,
) -> Groups:
    """Find groups of accounts acting as one.

    Args:
        folders: Folders of sealed spills with the log's signals.
        facts: Facts of its accounts.
        suite: Detectors with learnt parameters, ties and group statistics.
        kind: The reference kind that holds everybody.
        reference: Honest groups to rank among.
        fdr: False discovery rate aimed at.
    """
    with Traces(folders, facts) as traces:
        habits = habits_of(traces)
        found = candidates(Scene(traces, habits, reference.rarity), suite.ties)
        scores = score_groups(half_one(traces, found.membership()), found.across, suite, kind)
        owners = tuple(np.unique(facts.owner[np.searchsorted(facts.subject, part)]) for part in found.members)
        ranks = reference.rank(scores.score, found.sizes, found.across, owners, len(habits))
        certain = select(ranks.p_value, found.across, fdr) & (ranks.references >= ENOUGH_GROUPS)
        selected = select(ranks.p_pooled, found.across, REVIEW_RATE * fdr) | certain
        groups = Groups(found, habits, scores, ranks, selected, certain)
        shared = shared_attributes(traces, reference.rarity, [one.members for one in groups.reported()])
    return replace(
        groups,
        attributes=shared,
        pair_ties=tuple((tie.words, at) for at, tie in enumerate(suite.ties) if tie.words),
    )


def select(p_values: npt.NDArray[np.float64], across: Bools, rate: float) -> Bools:
    """Benjamini-Hochberg within each class, at its share of the rate.

    Shares add to one, so the false discovery rate of the union is at most the rate: its false share is at most the
    sum of the classes' own.

    Args:
        p_values: One a group; NaN = not tested.
        across: Class of each group: whether it spans owners.
        rate: False discovery rate aimed at.

    References:
        Benjamini and Hochberg (1995), JRSS B 57:289-300.
    """
    selected = np.zeros(len(p_values), np.bool_)
    for spans, share in SHARES.items():
        mine = (across == spans) & ~np.isnan(p_values)
        ordered = np.sort(p_values[mine])
        passing = np.flatnonzero(
            ordered <= rate * share * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        )
        if len(passing):
            selected |= mine & (p_values <= ordered[passing[-1]])
    return selected
