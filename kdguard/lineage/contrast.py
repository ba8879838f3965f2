"""Double differences: how much more like one family than like the families of other vendors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kdguard.lineage.families import Families

Floats = npt.NDArray[np.float64]

FIRST_LOOK = 10


def contrasts(affinities: Floats, families: Families) -> Floats:
    """Affinity to each family less the mean over families of other vendors, prompt by prompt, shape (P, M, K).

    Answers to one prompt resemble each other, whoever gives them; the difference takes that away. A model's own family
    is never among the alternatives.

    Args:
        affinities: Shape (P, M, K); NaN = cannot tell.
        families: The families.
    """
    members = families.of_model[:, None] == np.arange(len(families))[None, :]
    alternatives = np.where(members[None], np.nan, affinities)
    known = ~np.isnan(alternatives)
    filled = np.where(known, alternatives, 0.0)
    other = families.other_vendor.astype(np.float64)
    total = np.einsum("pmg,fg->pmf", filled, other)
    count = np.einsum("pmg,fg->pmf", known.astype(np.float64), other)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, affinities - total / np.maximum(count, 1), np.nan)


def looks(prompts: int) -> tuple[int, ...]:
    """Numbers of prompts at which a suspect is looked at: 10, 20, 40, ... and all of them."""
    counts = []
    count = FIRST_LOOK
    while count < prompts:
        counts.append(count)
        count *= 2
    return (*counts, prompts)


def ends_of_looks(heard: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """By which prompt 10, 20, 40, ... of those that count were asked; the last look is at the end.

    Which prompts come later moves no earlier look.

    Args:
        heard: Prompts that count, shape (P,).
    """
    ends = np.searchsorted(np.cumsum(heard), looks(int(heard.sum()))) + 1
    return (*map(int, ends[:-1]), len(heard))


def means_at_looks(contrast: Floats, heard: npt.NDArray[np.bool_]) -> Floats:
    """Mean contrast over the first prompts at every look, shape (L, M, K); NaN where nothing is known.

    Args:
        contrast: Shape (P, M, K); NaN = not known.
        heard: Prompts that count, for whichever model, shape (P,).
    """
    known = ~np.isnan(contrast) & heard[:, None, None]
    starts = [0, *ends_of_looks(heard)[:-1]]
    total = np.add.reduceat(np.where(known, contrast, 0.0), starts, axis=0).cumsum(axis=0)
    count = np.add.reduceat(known, starts, axis=0, dtype=np.int64).cumsum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
