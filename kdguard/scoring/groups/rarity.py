"""How rare a coincidence between two owners is among honest ones: the currency in which ties are weighed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.habits import Habits
from kdguard.scoring.groups.traces import LOG_KINDS, RECORD_KINDS, Traces

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_VALUES = 50_000
"""Values of one kind that are remembered, the most common first; the others count as rare as the rarest kept."""
LEVELS = np.arange(33) * 0.25
_MOST_LIKENESS_OWNERS = 2_000


@dataclass(frozen=True)
class Rarity:
    """What honest owners share, learnt from teaching owners, whom nobody is ranked among.

    Attributes:
        owners: Owners it rests on.
        codes: Values held by more than one owner, ascending, by kind.
        counts: Owners that hold each, by kind.
        wording: Shares of requests that read like each technique, one row an owner, columns sorted, shape (r, 13).
        likeness: Similarity of mean sign vectors that a pair reaches with chance 10^-(level/4), shape (33,).
        total: Sum of all ties' weights that a pair reaches with chance 10^-(level/4), shape (33,).
    """

    owners: int
    codes: Mapping[str, Codes]
    counts: Mapping[str, Ints]
    wording: Floats
    likeness: Floats
    total: Floats

    @property
    def cap(self) -> float:
        """Largest weight: the reference has no pair rarer than one in all its pairs."""
        return float(np.log10(max(self.owners * (self.owners - 1) / 2, 1.0)))

    def weights(self, kind: str) -> tuple[Floats, float]:
        """Weight of each remembered value of a kind, aligned with `codes[kind]`, and of a value that is not remembered.

        It is -log10 of the chance that two honest owners share a value that so many others, or fewer, have. Two who
        share a value that nobody else has are the pairs behind values of two holders: a missing value is as rare as
        those, not as rare as never (Good 1953, Biometrika 40:237-264).
        """
        counts = np.sort(self.counts[kind])
        pairs = np.concatenate(([0.0], np.cumsum(counts * (counts - 1) / 2.0)))
        total = max(self.owners * (self.owners - 1) / 2, 1.0)

        def weigh(others: Ints) -> Floats:
            rarer = pairs[np.searchsorted(counts, others + 2, side="right")]
            return np.clip(-np.log10((rarer + 1) / (total + 1)), 0.0, self.cap)

        return weigh(self.counts[kind]), float(weigh(np.zeros(1, np.int64))[0])

    def wording_weight(self, wording: Floats) -> Floats:
        """-log10 of the share of honest owners at or above each share, shape (o, 13)."""
        size = len(self.wording)
        weight = np.zeros(wording.shape)
        for at in range(wording.shape[1]):
            above = size - np.searchsorted(self.wording[:, at], wording[:, at], side="left")
            weight[:, at] = -np.log10((1.0 + above) / (size + 1.0))
        return np.where(wording > 0, weight, 0.0)

    def likeness_weight(self, similarity: Floats) -> Floats:
        """-log10 of the share of honest pairs at least as similar."""
        return np.interp(similarity, self.likeness, LEVELS, left=0.0)

    def least_weight(self, rarity: float) -> float:
        """Total weight that two honest owners reach with chance 10^-rarity; beyond what pairs showed, one for one."""
        known = LEVELS[self.cap >= LEVELS]
        return float(np.interp(rarity, known, self.total[: len(known)])) + max(rarity - float(known[-1]), 0.0)


def learn_rarity(traces: Traces, habits: Habits, prompted: Codes) -> Rarity:
    """Count what teaching owners share.

    Args:
        traces: Half 0 of teaching owners.
        habits: Their habits.
        prompted: Owners whose prompts taught the request classifier, which therefore finds them too ordinary; what
            they seem to do is not counted.
    """
    held = traces.ask(
        f"""
        SELECT kind, code, count(DISTINCT owner)::BIGINT AS owners FROM held JOIN every_account USING (subject)
        GROUP BY kind, code
        QUALIFY row_number() OVER (PARTITION BY kind ORDER BY count(DISTINCT owner) DESC, code) <= {MOST_VALUES}
        ORDER BY kind, code
        """
    ).to_pandas()
    codes, counts = {}, {}
    for kind in (*LOG_KINDS, *RECORD_KINDS):
        mine = held[held["kind"] == kind]
        codes[kind] = mine["code"].to_numpy(np.uint64)
        counts[kind] = mine["owners"].to_numpy(np.int64)
    heard = habits.speaks
    return Rarity(
        owners=len(habits),
        codes=codes,
        counts=counts,
        wording=np.sort(habits.wording[heard & ~np.isin(habits.owner, prompted)], axis=0),
        likeness=_likeness_levels(habits.meaning[heard][:_MOST_LIKENESS_OWNERS]),
        total=np.asarray(LEVELS, np.float64),
    )


def _likeness_levels(meaning: npt.NDArray[np.float32]) -> Floats:
    similarity = (meaning @ meaning.T) / max(meaning.shape[1], 1)
    pairs = similarity[np.triu_indices(len(meaning), 1)].astype(np.float64)
    return tail_levels(pairs, len(pairs))


def tail_levels(values: Floats, pairs: int) -> Floats:
    """Values that a pair exceeds with chance 10^-(level/4).

    Args:
        values: What some pairs show, shape (p,); the other pairs show less than any level asked of it.
        pairs: All pairs.

    Returns:
        Ascending, shape (33,); levels rarer than one pair lie just above the largest value.
    """
    if not len(values):
        return np.asarray(LEVELS, np.float64)
    ordered = np.sort(values)[::-1]
    rank = np.minimum((pairs * 10.0**-LEVELS).astype(np.int64), len(ordered) - 1)
    # np.interp needs ascending values: levels that no pair told apart are spaced by next to nothing.
    return np.asarray(np.maximum.accumulate(ordered[rank]) + 1e-9 * np.arange(len(LEVELS)), np.float64)
