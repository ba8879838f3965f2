"""Published ways of telling lineage from answers, written anew from the papers, to be measured beside ours.

Each decides from the answers of suspects and teachers alone, as published; none looks at control models.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from kdguard.lineage.families import Families
from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def nearest_teacher(affinities: Floats) -> Bools:
    """The family whose answers are most similar in the mean; somebody is always named.

    Args:
        affinities: Shape (P, S, K); NaN = cannot tell, such as a suspect's own family.

    Returns:
        Claims, shape (S, K).
    """
    mean = np.nan_to_num(np.nanmean(affinities, axis=0), nan=-np.inf)
    return mean == mean.max(axis=1, keepdims=True)


def above_threshold(affinities: Floats, threshold: float) -> Bools:
    """Every family whose mean similarity exceeds a fixed number, shape (S, K)."""
    return np.nan_to_num(np.nanmean(affinities, axis=0), nan=-np.inf) > threshold


def nearest_on_each(affinities: Floats) -> Floats:
    """1 where a family's answer is the most similar to a prompt, else 0, shape (P, S, K); NaN where it cannot tell."""
    highest = np.fmax.reduce(affinities, axis=2, keepdims=True)
    return np.where(np.isnan(affinities), np.nan, (affinities == highest).astype(np.float64))


def first_tokens_agree(responses: Responses, families: Families) -> Floats:
    """Share of a family's members whose answer begins with the same word as the model's, shape (P, M, K)."""
    words = [next(iter((text or "").split()), None) for text in responses.texts.to_pylist()]
    first = np.array(words, object).reshape(len(responses.prompts), -1)
    found = np.full((*first.shape, len(families)), np.nan)
    for family in range(len(families)):
        members = np.flatnonzero(families.of_model == family)
        equal = (first[:, :, None] == first[:, None, members]).astype(np.float64)
        equal[(first == None)[:, :, None] | (first == None)[:, None, members]] = np.nan  # noqa: E711 - elementwise
        equal[:, members, np.arange(len(members))] = np.nan
        with np.errstate(invalid="ignore"):
            known = (~np.isnan(equal)).sum(axis=2)
            found[:, :, family] = np.where(known > 0, np.nansum(equal, axis=2) / np.maximum(known, 1), np.nan)
    return found


def two_proportions(agreements: Floats, alpha: float) -> Bools:
    """Model Provenance Testing: the best family is claimed if it beats every other in a test of two proportions.

    Prompts are the sample, the other families the controls; Holm over the comparisons.

    Args:
        agreements: Share of agreeing members on each prompt, shape (P, S, K); NaN = cannot tell.
        alpha: Level; the published default is .05.

    Returns:
        Claims, shape (S, K), at most one a suspect.

    References:
        Nikolic, Baluta and Saxena (2025), arXiv 2502.00706.
    """
    count = (~np.isnan(agreements)).sum(axis=0).astype(np.float64)
    share = np.nansum(agreements, axis=0) / np.maximum(count, 1)
    claims = np.zeros(share.shape, np.bool_)
    for suspect, rates in enumerate(share):
        rates = np.where(count[suspect] > 0, rates, -1.0)
        best = int(rates.argmax())
        others = np.flatnonzero((np.arange(len(rates)) != best) & (count[suspect] > 0))
        pooled = (rates[best] * count[suspect, best] + rates[others] * count[suspect, others]) / (
            count[suspect, best] + count[suspect, others]
        )
        error = np.sqrt(pooled * (1 - pooled) * (1 / count[suspect, best] + 1 / count[suspect, others]))
        p_values = np.sort(norm.sf((rates[best] - rates[others]) / np.maximum(error, 1e-12)))
        claims[suspect, best] = bool((p_values <= alpha / (len(others) - np.arange(len(others)))).all())
    return claims
