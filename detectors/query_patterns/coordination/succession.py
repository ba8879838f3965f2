"""X5: one owner is cut off or falls silent, another that asks alike begins within two days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.features.signals import FLAGS
from kdguard.scoring.groups.ties import Pairs, Scene

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WINDOW_US = 48 * 3_600_000_000
_HEIRS = 24
_MOST_WEIGHT = 4.0


@dataclass(frozen=True)
class Succession:
    """The order in time, weighed by how often honest owners of the same log follow each other so closely.

    Proxy networks replace banned accounts at once (log-scoring reference, section 1 and X5). The order alone is no
    reason to look at two owners, since accounts come and go: it adds to what their frames and wording weigh, and only
    an owner whose last requests were all refused (status 403 or 429) is paired with those who begin after it.
    """

    name: str = "succession"
    words: str = "one begins within two days of the other's end"

    def propose(self, scene: Scene) -> Pairs:
        """Owners cut off, each with the next 24 who begin within the window."""
        first, last = scene.habits.first_us, scene.habits.last_us
        ended = np.flatnonzero(cut_off(scene))
        if not len(ended):
            return Pairs(np.empty(0, np.int64), np.empty(0, np.int64))
        begun = np.argsort(first, kind="stable")
        at = np.searchsorted(first[begun], last[ended], side="right")[:, None] + np.arange(_HEIRS)
        heir = begun[np.minimum(at, len(begun) - 1)]
        near = (at < len(begun)) & (first[heir] <= last[ended][:, None] + WINDOW_US)
        return Pairs.of(np.repeat(ended, near.sum(axis=1)), heir[near], len(scene.habits))

    def weigh(self, scene: Scene, pairs: Pairs) -> Floats:
        """-log10 of the share of ordered pairs of the log's owners that follow each other; cut-off ends apart."""
        habits = scene.habits
        cut = cut_off(scene)
        weight = np.zeros(len(pairs))
        for before, after in ((pairs.source, pairs.target), (pairs.target, pairs.source)):
            gap = habits.first_us[after] - habits.last_us[before]
            follows = (
                (gap > 0) & (gap <= WINDOW_US) & (habits.last_us[before] > 0) & (habits.first_us[after] > 0)
            )
            for ended in (np.ones(len(habits), np.bool_), cut):
                value = _rarity(habits.first_us, habits.last_us, ended)
                weight = np.where(follows & ended[before], np.maximum(weight, value), weight)
        return weight


def cut_off(scene: Scene) -> npt.NDArray[np.bool_]:
    """Whether the last request of an owner was refused by the service, over both halves; shape (o,)."""
    found = scene.traces.ask(
        f"""
        SELECT node, arg_max(flags & {FLAGS["blocked"]}, time_us) > 0 AS cut
        FROM signals JOIN nodes USING (subject) WHERE time_us > 0 GROUP BY node
        """,
        nodes={"subject": scene.habits.subject, "node": scene.habits.node},
    )
    cut = np.zeros(len(scene.habits), np.bool_)
    cut[found.column("node").to_numpy()] = found.column("cut").to_numpy(zero_copy_only=False)
    return cut


def _rarity(first: Ints, last: Ints, ended: npt.NDArray[np.bool_]) -> float:
    begun = np.sort(first[first > 0])
    ends = last[ended & (last > 0)]
    heirs = np.searchsorted(begun, ends + WINDOW_US, side="right") - np.searchsorted(
        begun, ends, side="right"
    )
    share = (1.0 + heirs.sum()) / max(len(first), 1) ** 2
    return float(np.clip(-np.log10(share), 0.0, _MOST_WEIGHT))
