"""How well a suspect's answers agree with what a key drew, and how often an unrelated key would do as well.

Letters: c choices (one field of one site), v values of a choice, a accounts. A value's weight is the likelihood ratio
of "recalled with rate r, else any value alike" against "any value alike".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.errors import CanaryError
from kdguard.ledger.draws import picks
from kdguard.stats.sums import SumNull, Term, sum_null

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

GRID = 4
"""Scores are integers in quarters of a natural logarithm."""
_LABEL = ("canary", "reply")


@dataclass(frozen=True, slots=True)
class Choices:
    """What a suspect's answers say about every choice.

    Attributes:
        sizes: Number of values of each choice, shape (c,).
        sites: Number of the site of each choice, ascending from 0, shape (c,).
        scores: For each choice, the integer score of each value that was seen; others score 0.
    """

    sizes: Ints
    sites: Ints
    scores: tuple[Mapping[int, int], ...]

    def null(self, sites: int) -> SumNull:
        """Exact distribution of the score of a key that drew independently of the answers, over the first sites."""
        return sum_null(self._term(choice) for choice in np.flatnonzero(self.sites < sites).tolist())

    def _term(self, choice: int) -> Term:
        scores, size = self.scores[choice], int(self.sizes[choice])
        chances = (*(1 / size for _ in scores), (size - len(scores)) / size)
        return Term((*scores.values(), 0), chances)

    def score(self, drawn: Ints, sites: int) -> int:
        """Score of one key's draws, shape (c,), over the first sites."""
        first = np.flatnonzero(self.sites < sites).tolist()
        return sum(self.scores[choice].get(int(drawn[choice]), 0) for choice in first)

    def score_all(self, drawn: Ints, sites: int) -> Ints:
        """Scores of many keys' draws, shape (a, c), over the first sites."""
        total = np.zeros(drawn.shape[0], np.int64)
        for choice in np.flatnonzero(self.sites < sites).tolist():
            table = np.zeros(int(self.sizes[choice]), np.int64)
            table[list(self.scores[choice])] = list(self.scores[choice].values())
            total += table[drawn[:, choice]]
        return total


def draw(key: bytes, sizes: Ints) -> Ints:
    """What an account's key draws at every choice of its epoch, shape (c,)."""
    return picks(key, _LABEL, sizes)


def weigh(
    sizes: Sequence[Sequence[int]],
    seen: Sequence[Sequence[int]],
    recall: float,
    habit: Sequence[Sequence[float]] = (),
) -> Choices:
    """Turn counts into scores.

    A value scores its share among the answers in which the choice could be read, less the share that habit explains,
    times the logarithm of how much more likely the drawn value is if it was learnt at rate `recall`.

    Args:
        sizes: Sizes of the fields of each site.
        seen: Rows (choice, value, count) of the suspect's answers.
        recall: Assumed chance of giving a learnt value, in (0, 1), fixed before looking.
        habit: Rows (choice, value, share) of models that never saw the marks; optional, and free to be wrong: it
            costs power, never validity.

    Raises:
        CanaryError: A row lies outside the choices.
    """
    flat = np.array([size for site in sizes for size in site], np.int64)
    sites = np.repeat(np.arange(len(sizes)), [len(site) for site in sizes])
    weights = np.maximum(np.round(GRID * np.log1p(recall * flat / (1 - recall))), 1)
    counts, habits = _table(seen, flat, "seen"), _table(habit, flat, "habit")
    scores: list[dict[int, int]] = []
    for choice, weight in enumerate(weights.tolist()):
        asked = max(sum(counts[choice].values()), 1)
        values = sorted({*counts[choice], *habits[choice]}) if counts[choice] else []
        scores.append(
            {
                value: round(weight * (counts[choice].get(value, 0) / asked - habits[choice].get(value, 0.0)))
                for value in values
            }
        )
    return Choices(flat, sites, tuple(scores))


def _table(rows: Sequence[Sequence[Any]], sizes: Ints, name: str) -> Mapping[int, dict[int, Any]]:
    table: defaultdict[int, dict[int, Any]] = defaultdict(dict)
    for choice, value, amount in rows:
        if not (0 <= choice < sizes.size and 0 <= value < sizes[choice] and amount >= 0):
            raise CanaryError(
                f"{name} must hold (choice, value, amount) within {sizes.size} choices, got {choice, value, amount}"
            )
        table[choice][value] = table[choice].get(value, 0) + amount
    return table
