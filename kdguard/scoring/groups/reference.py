"""Groups that the same procedure forms among honest owners: what a suspicious group is ranked among.

Why the rank means something, and what it leaves out. Suppose the honest owners of the log scored and those of the
calibration log are draws of one population, in logs of like size. The procedure treats owners alike, forms groups on
half 0 of everybody's sessions, and scores them on half 1; so an honest group of the log is exchangeable with the
honest groups of calibration, and its rank among m of them is at most k/(m+1) with chance k/(m+1). Halving keeps the
reasons for which a group was chosen out of the number it is judged by; the rank would be valid without.

Assumed: honest owners who use the service like the calibration month's; a log not much larger than the calibration
log (ties needed grow with the log of the number of owners, but groups in a far larger log may be larger); and, where
a size class has fewer than 99 references and smaller groups are added, that an honest group does not score higher for
being larger. Random draws of honest owners of matched size guard that last point from one side. Given up: weak
campaigns in small calibration logs, for m honest groups can never make a p-value below 1/(m+1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.rarity import Rarity

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ENOUGH_GROUPS = 99
LARGE_ACROSS = 10
LARGE_WITHIN = 16
_TAIL_FROM = 0.5
_FEWEST_FOR_TAIL = 9


@dataclass(frozen=True, slots=True)
class GroupRanks:
    """Ranks of g groups.

    Attributes:
        p_value: Rank among honest groups, the largest of that and of the rank among random draws.
        p_pooled: The same with the tail of the honest groups drawn out exponentially beyond their largest; it has no
            guarantee and never leads beyond a review.
        p_floor: Smallest p_value possible.
        references: Honest groups ranked among, shape (g,).
    """

    p_value: Floats
    p_pooled: Floats
    p_floor: Floats
    references: Ints


@dataclass(frozen=True)
class GroupReference:
    """Honest groups and draws, with what is rare among honest owners.

    Attributes:
        rarity: What teaching owners share.
        score: Score of each honest group, shape (r,).
        size: Units of each, shape (r,).
        across: Whether it spans owners, shape (r,).
        member_owner: Owners of all groups, one after the other, shape (e,).
        member_group: Group of each of them, shape (e,).
        draw_score, draw_size: Scores and sizes of random draws of honest owners, shape (d,).
        owners: Owners of the calibration log.
    """

    rarity: Rarity
    score: Floats
    size: Ints
    across: npt.NDArray[np.bool_]
    member_owner: Codes
    member_group: Ints
    draw_score: Floats
    draw_size: Ints
    owners: int

    def rank(
        self, score: Floats, size: Ints, across: npt.NDArray[np.bool_], owners: tuple[Codes, ...]
    ) -> GroupRanks:
        """Rank groups among honest ones of their class, and among draws of their size.

        Nobody is ranked among groups that hold one of its own owners.

        Args:
            score: Scores, shape (g,); NaN gives NaN.
            size: Units of each group.
            across: Whether it spans owners.
            owners: Owners of each group.
        """
        ranks = [self._rank_one(*one) for one in zip(score, size, across, owners, strict=True)]
        columns = np.array(ranks, np.float64).reshape(-1, 4)
        return GroupRanks(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3].astype(np.int64))

    def _rank_one(self, score: float, size: int, across: bool, owners: Codes) -> tuple[float, float, float, int]:
        own = np.zeros(len(self.score), np.bool_)
        own[self.member_group[np.isin(self.member_owner, owners)]] = True
        peers = np.sort(self.score[self._class(size, across) & ~own])
        floor = 1.0 / (len(peers) + 1.0)
        if np.isnan(score):
            return np.nan, np.nan, floor, len(peers)
        exact = (1.0 + np.sum(peers >= score)) / (len(peers) + 1.0)
        drawn = self._draws(size, across)
        by_chance = (1.0 + np.sum(drawn >= score)) / (len(drawn) + 1.0) if len(drawn) else 0.0
        return max(exact, by_chance), max(_tail(peers, score), by_chance), max(floor, by_chance and 0.0), len(peers)

    def _class(self, size: int, across: bool) -> npt.NDArray[np.bool_]:
        """Groups of the size class; with smaller ones where the class has too few."""
        mine = self.across == across
        large = LARGE_ACROSS if across else LARGE_WITHIN
        same = mine & ((self.size >= large) == (size >= large))
        if size < large or same.sum() >= ENOUGH_GROUPS:
            return same
        return mine

    def _draws(self, size: int, across: bool) -> Floats:
        """Draws of the largest size that is not above the group's; draws are of owners, so only for those."""
        smaller = self.draw_size[self.draw_size <= size]
        if not across or not len(smaller):
            return np.empty(0)
        return self.draw_score[self.draw_size == smaller.max()]


def _tail(peers: Floats, score: float) -> float:
    """Chance of a score this high: the rank inside the references, an exponential tail beyond them.

    The tail's mean is that of the excesses over the median, which are more spread than those of the far tail of any
    law with an increasing hazard, such as the normal; references: Pickands (1975), Ann. Statist. 3:119-131.
    """
    exact = (1.0 + np.sum(peers >= score)) / (len(peers) + 1.0)
    if len(peers) < _FEWEST_FOR_TAIL or score <= peers[-1]:
        return float(exact)
    threshold = np.quantile(peers, _TAIL_FROM)
    mean = float(np.mean(peers[peers > threshold] - threshold)) if (peers > threshold).any() else 0.0
    if mean <= 0:
        return float(exact)
    return float(exact * np.exp(-(score - peers[-1]) / mean))
