"""X4: owners whose requests read like one extraction technique and mean alike, with nothing else in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.ties import Pairs, Scene

Floats = npt.NDArray[np.float64]

_MOST_OWNERS = 6_000
_BLOCK = 256
_NEAREST = 24
_LEAST_PROPOSED = 1.5


@dataclass(frozen=True)
class Content:
    """The same technique at a rate that few honest owners reach, and prompts closer than honest pairs are.

    If a share p of honest owners reads this much like a technique, two do with chance p squared. Similarity is the
    kernel of random-hyperplane signs (Charikar 2002), ranked among honest pairs. In a log of more owners than memory
    allows to compare, those whose wording is least usual are compared.
    """

    name: str = "content"
    words: str = "the same way of asking"

    def propose(self, scene: Scene) -> Pairs:
        """Each owner's nearest by weight, found block by block."""
        habits = scene.habits
        wording = _wording_weight(scene)
        speaks = np.flatnonzero(habits.speaks)
        if len(speaks) > _MOST_OWNERS:
            speaks = np.sort(speaks[np.argsort(-wording[speaks].max(axis=1), kind="stable")[:_MOST_OWNERS]])
        sources, targets = [], []
        for first in range(0, len(speaks), _BLOCK):
            rows = speaks[first : first + _BLOCK]
            weight = _weigh(scene, wording, rows[:, None], speaks[None, :])
            weight[np.arange(len(rows)), first + np.arange(len(rows))] = 0.0
            row, column = np.nonzero(weight >= _LEAST_PROPOSED)
            order = np.lexsort((column, -weight[row, column], row))
            row, column = row[order], column[order]
            near = np.arange(len(row)) - np.searchsorted(row, row) < _NEAREST
            sources.append(rows[row[near]])
            targets.append(speaks[column[near]])
        if not sources:
            return Pairs(np.empty(0, np.int64), np.empty(0, np.int64))
        return Pairs.of(np.concatenate(sources), np.concatenate(targets), len(habits))

    def weigh(self, scene: Scene, pairs: Pairs) -> Floats:
        """Weight of shared technique plus weight of likeness; owners with little text weigh nothing."""
        wording, speaks = _wording_weight(scene), scene.habits.speaks
        weight = np.zeros(len(pairs))
        heard = np.flatnonzero(speaks[pairs.source] & speaks[pairs.target])
        for first in range(0, len(heard), 1 << 16):
            part = heard[first : first + (1 << 16)]
            weight[part] = _paired(scene, wording, pairs.source[part], pairs.target[part])
        return weight


def _wording_weight(scene: Scene) -> Floats:
    """Weight of each owner's wording; rows of owners who do not speak are never written and take no memory."""
    habits = scene.habits
    weight = np.zeros(habits.wording.shape)
    weight[habits.speaks] = scene.rarity.wording_weight(habits.wording[habits.speaks])
    return weight


def _weigh(
    scene: Scene, wording: Floats, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> Floats:
    meaning = scene.habits.meaning
    similarity = meaning[rows[:, 0]] @ meaning[columns[0]].T / meaning.shape[1]
    shared = np.zeros(similarity.shape)
    for at in range(wording.shape[1]):
        if wording[:, at].any():
            shared = np.maximum(shared, np.minimum(wording[rows, at], wording[columns, at]))
    return 2 * shared + scene.rarity.likeness_weight(similarity)


def _paired(
    scene: Scene, wording: Floats, source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]
) -> Floats:
    habits = scene.habits
    similarity = (
        np.einsum("pd,pd->p", habits.meaning[source], habits.meaning[target]) / habits.meaning.shape[1]
    )
    shared = np.minimum(wording[source], wording[target]).max(axis=1, initial=0.0)
    return 2 * shared + scene.rarity.likeness_weight(similarity)
