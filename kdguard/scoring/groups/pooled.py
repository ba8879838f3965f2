"""Half 1 of candidate groups: the members' requests pooled, as if one account had sent them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kdguard.features.session import Rows
from kdguard.scan import CHECKPOINTS, Detector, State, Trajectories
from kdguard.scoring.groups.traces import Traces

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Membership:
    """Which accounts are in which group; an account may be in several.

    Attributes:
        group: Group of each membership, ascending from 0, shape (e,).
        subject: Hash of the account, shape (e,).
        unit: Hash of what is independent within the group: the owner, or the account where all have one owner.
        groups: Groups in all.
    """

    group: Ints
    subject: Codes
    unit: Codes
    groups: int

    @classmethod
    def of(cls, members: Sequence[Codes], units: Sequence[Codes]) -> Membership:
        """List the members of each group, given as hashes of accounts and of their units."""
        none = np.empty(0, np.uint64)
        return cls(
            np.repeat(np.arange(len(members)), [len(part) for part in members]),
            np.concatenate([none, *members]),
            np.concatenate([none, *units]),
            len(members),
        )


@dataclass(frozen=True, slots=True)
class HalfOne:
    """Half-1 rows of all groups' members, one copy a membership.

    Attributes:
        rows: The rows, by group and then account.
        group: Group of each row, shape (n,).
        unit: Hash of the owner, or of the account where all have one owner, shape (n,).
        payment: Hash of the account's payment instrument, 0 = unknown, shape (n,).
        groups: Groups in all.
    """

    rows: Rows
    group: Ints
    unit: Codes
    payment: Codes
    groups: int

    def requests(self) -> Ints:
        """Rows of each group, shape (g,)."""
        return np.bincount(self.group, minlength=self.groups)

    def units(self) -> Ints:
        """Units of each group that have rows, shape (g,)."""
        if not len(self.group):
            return np.zeros(self.groups, np.int64)
        order = np.lexsort((self.unit, self.group))
        group, unit = self.group[order], self.unit[order]
        fresh = np.concatenate(([True], (group[1:] != group[:-1]) | (unit[1:] != unit[:-1])))
        return np.bincount(group[fresh], minlength=self.groups)


def half_one(traces: Traces, members: Membership) -> HalfOne:
    """Fetch the rows on which groups are tested."""
    rows = traces.tested(members.subject)
    starts = np.searchsorted(rows.subject, members.subject, side="left")
    sizes = np.searchsorted(rows.subject, members.subject, side="right") - starts
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    payment = traces.facts.payment[np.searchsorted(traces.facts.subject, members.subject)]
    return HalfOne(
        rows.take(np.repeat(starts, sizes) + within),
        np.repeat(members.group, sizes),
        np.repeat(members.unit, sizes),
        np.repeat(payment, sizes),
        members.groups,
    )


def pooled_scores(half: HalfOne, detectors: Sequence[Detector]) -> Trajectories:
    """Every detector's outputs for each group's pooled rows, at the checkpoint that the group has reached.

    States of different accounts merge by sum (`Detector.pool`), so a group of a hundred accounts with ten requests
    each is scored like one account with a thousand. Groups short of the first checkpoint are left out.
    """
    keyed = replace(half.rows, subject=half.group.astype(np.uint64))
    requests = half.requests()
    reached = np.searchsorted(CHECKPOINTS, requests, side="right") - 1
    scored = np.flatnonzero(reached >= 0)
    parts = []
    for detector in detectors:
        state: State = detector.update(detector.create(), keyed)
        parts.append(detector.scores(state.take(np.searchsorted(state.subjects, scored.astype(np.uint64)))))
    return Trajectories(
        scored.astype(np.uint64),
        reached[scored],
        np.zeros(len(scored), np.int64),
        np.concatenate(parts, axis=1) if parts else np.empty((len(scored), 0)),
    )
