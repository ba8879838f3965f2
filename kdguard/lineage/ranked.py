"""What one rank is made of: numbers enough to draw it, and to take it again without any answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.lineage.ranking import Standing, stand_over

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranked:
    """One suspect among the m controls of one family, up to the look at which it was stopped.

    Attributes:
        looks: Prompts asked by each look, those to come included, shape (L,).
        last: Place of the look at which the suspect was stopped.
        asked: Prompts it had been asked then.
        controls: Names of the controls.
        scores: Score of each control beside the suspect's over all prompts, shape (m,).
        p_at_look: Rank at each look up to the last, shape (last + 1,).
        log10_e_at_look: Largest wealth of the bet up to each of these looks, shape (last + 1,).
        readings: Mean contrasts of suspect and controls at every look, shape (L, 1 + m), and who is ranked under
            them, shape (1 + m,); the suspect first. One reading, or several for tests that learn.
    """

    looks: tuple[int, ...]
    last: int
    asked: int
    controls: tuple[str, ...]
    scores: Floats
    p_at_look: Floats
    log10_e_at_look: Floats
    readings: tuple[tuple[Floats, Bools], ...]


def ranked_of(
    standing: Standing, at: int, models: Sequence[str], last: int, log10_e: Floats, asked: int
) -> Ranked:
    """The rank of one of the suspects that a standing is about.

    Args:
        standing: Of all suspects, in one family.
        at: Place among the suspects.
        models: Names of all models of the table.
        last: Place of the last look.
        log10_e: Largest wealth after each prompt, shape (P,), or empty.
        asked: Prompts that the suspect was asked.
    """
    names = np.array(models, object)
    own = np.concatenate([standing.suspects[at : at + 1], np.flatnonzero(standing.allowed[at])])
    readings = tuple((means[:, own], ranks[own]) for means, ranks in standing.readings)
    looks = tuple(map(int, standing.prompts))
    places = np.minimum(np.array(looks[: last + 1]), len(log10_e)) - 1
    return Ranked(
        looks=looks,
        last=last,
        asked=asked,
        controls=tuple(map(str, names[own[1:]])),
        scores=standing.peers[at, own[1:]],
        p_at_look=standing.p_at_look[: last + 1, at],
        log10_e_at_look=log10_e[places] if len(log10_e) else np.zeros(last + 1),
        readings=readings,
    )


def rank_again(readings: Sequence[tuple[Floats, Bools]], looks: Sequence[int]) -> Standing:
    """Rank the first model of some readings among all the others.

    Args:
        readings: As in `Ranked`.
        looks: Prompts behind each look.
    """
    models = readings[0][0].shape[1]
    allowed = np.ones((1, models), np.bool_)
    allowed[0, 0] = False
    return stand_over(readings, looks, np.array([0]), allowed)
