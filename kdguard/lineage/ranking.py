"""Where a suspect stands among control models: once over all prompts, and at every look.

The unit of exchangeability is the model, never the prompt. A suspect and its m controls are put on one scale that
treats all m + 1 alike, so a suspect that is exchangeable with them has each rank with equal chance, whatever the
statistic (Vovk, Gammerman and Shafer 2005, section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HALF_TRUSTED = 20.0
"""Prompts at which a look counts for the root of a half. Over ten prompts a control can stand higher by chance than
it ever does again; a weight fixed beforehand keeps early looks from ruling the controls' suprema, and ranks stay
exact."""


@dataclass(frozen=True)
class Standing:
    """Where S suspects stand among the controls of one family.

    Attributes:
        score: Mean contrast over all prompts, in root mean squares above the median of suspect and controls, (S,).
        p_fixed: Rank over all prompts, shape (S,).
        p_at_look: Rank of the running supremum of scores up to each look among the controls' suprema over all looks;
            falls from look to look and may be stopped at any, shape (L, S).
        controls: Controls ranked among, shape (S,).
        above: Controls at or above the suspect over all prompts, shape (S,).
        peers: Score of each control beside each suspect's, shape (S, M); NaN = not a control of it.
        readings: What was ranked: means of shape (L, M), and which models are ranked under them, shape (M,).
        prompts: Prompts behind each look, shape (L,).
        suspects: Columns of the suspects, shape (S,).
        allowed: Which models were controls of which suspect, shape (S, M).
    """

    score: Floats
    p_fixed: Floats
    p_at_look: Floats
    controls: Ints
    above: Ints
    peers: Floats
    readings: Sequence[tuple[Floats, Bools]]
    prompts: Sequence[int]
    suspects: Ints
    allowed: Bools


def stand(
    means: Floats,
    prompts: Sequence[int],
    suspects: Ints,
    allowed: Bools,
) -> Standing:
    """Rank suspects among the controls of one family, under one reading.

    Args:
        means: Mean contrast of every model at every look, shape (L, M); NaN = not known.
        prompts: Prompts behind each look, ascending, shape (L,).
        suspects: Columns of the suspects, shape (S,).
        allowed: Which models are controls of which suspect, shape (S, M); never the suspect itself.
    """
    return stand_over([(means, np.ones(means.shape[1], np.bool_))], prompts, suspects, allowed)


def stand_over(
    readings: Sequence[tuple[Floats, Bools]], prompts: Sequence[int], suspects: Ints, allowed: Bools
) -> Standing:
    """Rank suspects among the controls of one family, each control under the reading that ranks it.

    Args:
        readings: Means of shape (L, M) and which models are ranked under them, shape (M,).
        prompts: Prompts behind each look, ascending, shape (L,).
        suspects: Columns of the suspects, shape (S,).
        allowed: Which models are controls of which suspect, shape (S, M); never the suspect itself.
    """
    parts = [_part(means, prompts, suspects, allowed, ranks) for means, ranks in readings]
    count = np.sum([part.count for part in parts], axis=0)
    above = np.sum([part.above for part in parts], axis=0)
    reached = np.sum([part.reached for part in parts], axis=0)
    weight = np.stack([part.count for part in parts]) / np.maximum(count, 1)
    score = np.where(count > 0, np.sum(weight * [np.nan_to_num(part.own) for part in parts], axis=0), np.nan)
    unknown = np.all([np.isnan(part.own) for part in parts], axis=0)
    return Standing(
        score=np.where(unknown, np.nan, score),
        p_fixed=np.where(unknown, np.nan, (1.0 + above) / (count + 1.0)),
        p_at_look=(1.0 + reached) / (count + 1.0),
        controls=count,
        above=above,
        peers=np.fmax.reduce([part.peers for part in parts]),
        readings=readings,
        prompts=prompts,
        suspects=suspects,
        allowed=allowed,
    )


@dataclass(frozen=True)
class _Part:
    """Counts under one reading; S suspects."""

    own: Floats
    count: Ints
    above: Ints
    reached: Ints
    peers: Floats


def _part(means: Floats, prompts: Sequence[int], suspects: Ints, allowed: Bools, ranks: Bools) -> _Part:
    """The scale is that of suspect and all controls, whichever are ranked: it treats suspect and control alike."""
    pool = np.flatnonzero(allowed.any(axis=0))
    others = np.where(allowed[None][:, :, pool], means[:, None, pool], np.nan)  # (L, S, m)
    own = means[:, suspects]  # (L, S)
    every = np.concatenate([others, own[:, :, None]], axis=2)
    centre = _median(every)
    spread = np.sqrt(_mean((every - centre[:, :, None]) ** 2))
    scaled = (every - centre[:, :, None]) / np.maximum(spread, 1e-12)[:, :, None]
    counts = np.asarray(prompts, np.float64)
    trusted = np.sqrt(counts / (counts + HALF_TRUSTED))
    highest = np.fmax.accumulate(scaled * trusted[:, None, None], axis=0)
    ranked = ~np.isnan(scaled[-1, :, :-1]) & ranks[pool]  # (S, m)
    unseen = np.isnan(highest[:, :, -1:])  # nothing known of the suspect yet: everybody stands as high
    above = ((scaled[-1, :, :-1] >= scaled[-1, :, -1:]) | np.isnan(scaled[-1, :, -1:])) & ranked
    reached = ((highest[-1][None, :, :-1] >= highest[:, :, -1:]) | unseen) & ranked[None]
    peers = np.full(allowed.shape, np.nan)
    peers[:, pool] = np.where(ranked, scaled[-1, :, :-1], np.nan)
    return _Part(scaled[-1, :, -1], ranked.sum(axis=1), above.sum(axis=1), reached.sum(axis=2), peers)


def _median(values: Floats) -> Floats:
    """Median along the last axis, NaN left out; 0 where nothing is left."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = (~np.isnan(values)).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    take = np.take_along_axis(ordered, np.stack([low, high], axis=-1), axis=-1).mean(axis=-1)
    return np.where(count > 0, take, 0.0)


def _mean(values: Floats) -> Floats:
    count = (~np.isnan(values)).sum(axis=-1)
    mean: Floats = np.nansum(values, axis=-1) / np.maximum(count, 1)
    return mean
