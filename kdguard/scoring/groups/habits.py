"""What owners do on half 0, as arrays: the unit is the owner, so nothing inside one owner can tie it to itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.features.embedding import SIGNS
from kdguard.scoring.facts import Facts
from kdguard.scoring.groups.traces import WORDINGS, Traces

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEWEST_REQUESTS = 3
"""Half-0 requests with text below which an owner's content says nothing."""


@dataclass(frozen=True)
class Habits:
    """Half-0 habits of o owners, ascending by owner.

    Attributes:
        owner: Hash of the owner, shape (o,).
        node: Row of each account's owner, aligned with `subject`, shape (m,).
        subject: Hash of the account, ascending, shape (m,).
        requests: Half-0 requests with text, shape (o,).
        wording: Share of them that read like each technique, shrunk towards none, shape (o, 13).
        meaning: Mean sign vector of the prompts, shape (o, 128), float32; both are zeros for owners who do not speak.
        first_us, last_us: First and last time over both halves, shape (o,); 0 = unknown.
    """

    owner: Codes
    node: Ints
    subject: Codes
    requests: Ints
    wording: Floats
    meaning: npt.NDArray[np.float32]
    first_us: Ints
    last_us: Ints

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def speaks(self) -> npt.NDArray[np.bool_]:
        """Which owners have enough text on half 0, shape (o,)."""
        return self.requests >= FEWEST_REQUESTS

    def among(self, keep: npt.NDArray[np.bool_]) -> Habits:
        """Return the habits of some owners."""
        place = np.cumsum(keep) - 1
        mine = keep[self.node]
        return Habits(
            self.owner[keep],
            place[self.node[mine]],
            self.subject[mine],
            self.requests[keep],
            self.wording[keep],
            self.meaning[keep],
            self.first_us[keep],
            self.last_us[keep],
        )


def habits_of(traces: Traces) -> Habits:
    """Summarise half 0 of every owner."""
    facts: Facts = traces.facts
    owner, node = np.unique(facts.owner, return_inverse=True)
    total = np.zeros(len(owner), np.int64)
    np.add.at(total, node, traces.spoken())
    speaking = np.flatnonzero(total >= FEWEST_REQUESTS)
    row = np.full(len(owner), -1)
    row[speaking] = np.arange(len(speaking))
    # Rows that are never written take no memory: most owners of a large log send next to nothing.
    wording = np.zeros((len(owner), WORDINGS))
    wording[speaking] = traces.wording(row[node], len(speaking)) / (total[speaking, None] + 1.0)
    meaning = np.zeros((len(owner), SIGNS), np.float32)
    meaning[speaking] = traces.sign_sums(row[node], len(speaking)) / total[speaking, None]
    first, last = traces.lifetimes()
    first_us = np.full(len(owner), np.iinfo(np.int64).max)
    last_us = np.zeros(len(owner), np.int64)
    np.minimum.at(first_us, node[first > 0], first[first > 0])
    np.maximum.at(last_us, node, last)
    return Habits(
        owner,
        node,
        facts.subject,
        total,
        wording,
        meaning,
        np.where(last_us > 0, first_us, 0),
        last_us,
    )
