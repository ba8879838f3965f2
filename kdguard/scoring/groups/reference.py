"""Groups that the same procedure forms among honest owners: what a suspicious group is ranked among.

Why the rank means something, and what it leaves out. Suppose the honest owners of the log scored and those of the
calibration log are draws of one population. The procedure treats owners alike, forms groups on half 0 of everybody's
sessions, and scores them on half 1; so an honest group of the log is exchangeable with the honest groups of a
calibration log of like size, and ranks k-th or better among m of them with chance k/(m+1). Halving keeps the reasons
for which a group was chosen out of the number it is judged by; the rank would be valid without it.

Assumed: that honest owners use the service as in the calibration month; that campaigns in the log leave honest groups
as they are (they add owners, which raises the weight that a tie needs); and that a log lies near one of the sizes for
which groups were formed (the calibration log, its halves, quarters, eighths). The size of a group is not conditioned
on: few honest groups are large, and where a provider's are, they are among the references. Random draws of honest
owners of matched size guard from one side against scores that grow with size for no reason.

Given up: m honest groups can make no p-value below 1/(m+1), and a log as large as the calibration log holds as many
honest groups as there are references, so that after correction no single group could ever be selected. `p_pooled`
therefore draws the references' tail out exponentially; it orders groups and leads to reviews, never to a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.rarity import Rarity

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ENOUGH_GROUPS = 99
_FEWEST_FOR_TAIL = 9
LEAST_SCORE = 3.0
"""Below this a group shows too little and gets p = 1, however little honest groups show: seven owners alike in one
respect score 3, and so do three who are alike in a respect and a half."""
LEAST_TAIL = 1.0
"""Smallest mean of the tail: one doubling of the owners that are alike."""
_NEAR = 1.1
"""Doublings of log size over which references lend each other their tail."""


@dataclass(frozen=True, slots=True)
class GroupRanks:
    """Ranks of g groups.

    Attributes:
        p_value: Rank among honest groups, or among random draws of honest owners if that is larger.
        p_pooled: The same among groups of neighbouring log sizes too, with their tail drawn out exponentially beyond
            the largest; it has no guarantee and never leads beyond a review.
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
        log_owners: Owners of the log, or part of it, in which each group formed, shape (r,).
    """

    rarity: Rarity
    score: Floats
    size: Ints
    across: npt.NDArray[np.bool_]
    member_owner: Codes
    member_group: Ints
    draw_score: Floats
    draw_size: Ints
    log_owners: Ints

    def rank(
        self,
        score: Floats,
        size: Ints,
        across: npt.NDArray[np.bool_],
        owners: Sequence[Codes],
        log_owners: int,
    ) -> GroupRanks:
        """Rank groups among honest ones of their class, and among draws of their size.

        Nobody is ranked among groups that hold one of its own owners.

        Args:
            score: Scores, shape (g,); NaN gives NaN.
            size: Units of each group.
            across: Whether it spans owners.
            owners: Owners of each group.
            log_owners: Owners of the log that they formed in.
        """
        distance = self._distance(log_owners)
        ranks = [self._rank_one(*one, distance) for one in zip(score, size, across, owners, strict=True)]
        columns = np.array(ranks, np.float64).reshape(-1, 4)
        return GroupRanks(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3].astype(np.int64))

    def _distance(self, log_owners: int) -> Floats:
        """How far the log lies from the log in which each group formed, in doublings beyond the nearest.

        0 for groups within one owner, which form in a log of any size.
        """
        far = np.abs(np.log2(np.maximum(self.log_owners, 1) / max(log_owners, 1)))
        nearest = far[self.across].min(initial=np.inf)
        return np.where(self.across, far - nearest, 0.0)

    def _rank_one(
        self, score: float, size: int, across: bool, owners: Codes, distance: Floats
    ) -> tuple[float, float, float, int]:
        usable = self.across == across
        usable[self.member_group[np.isin(self.member_owner, owners)]] = False
        peers = np.sort(self.score[usable & (distance == 0)])
        drawn = np.sort(self._draws(size, across))
        floor = max(1.0 / (len(part) + 1.0) for part in (peers, drawn) if len(part) or part is peers)
        if np.isnan(score):
            return np.nan, np.nan, floor, len(peers)
        if score < LEAST_SCORE:
            return 1.0, 1.0, floor, len(peers)
        exact = _rank(peers, score)
        extended = _extended(np.sort(self.score[usable & (distance <= _NEAR)]), score)
        if len(drawn):
            exact, extended = max(exact, _rank(drawn, score)), max(extended, _extended(drawn, score))
        return exact, extended, floor, len(peers)

    def _draws(self, size: int, across: bool) -> Floats:
        """Draws of the largest size that is not above the group's; draws are of owners, so only for those."""
        smaller = self.draw_size[self.draw_size <= size]
        if not across or not len(smaller):
            return np.empty(0)
        return self.draw_score[self.draw_size == smaller.max()]


def _rank(references: Floats, score: float) -> float:
    return float((1.0 + np.sum(references >= score)) / (len(references) + 1.0))


def _extended(references: Floats, score: float) -> float:
    """Rank among ascending references, with an exponential tail beyond the largest.

    The tail's mean is that of the excesses over the median, which is no smaller than that over higher thresholds for
    any law with an increasing hazard, such as the normal; so the extension errs against accusing unless the law has
    a heavier tail than the exponential (Pickands 1975, Ann. Statist. 3:119-131). Honest groups are a mixture, most
    showing nothing and few a look-alike, and few references may hold none of the latter: hence a least mean.
    """
    exact = _rank(references, score)
    if len(references) < _FEWEST_FOR_TAIL or score <= references[-1]:
        return exact
    centre = float(np.median(references))
    mean = max(float(np.mean(references[references >= centre] - centre)), LEAST_TAIL)
    return exact * float(np.exp(-(score - references[-1]) / mean))
