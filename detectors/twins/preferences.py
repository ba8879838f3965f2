"""How much a suspect prefers answer 1 of a site to answer 0: from its likelihoods, or from what it says itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

from kdguard.errors import TwinsError

STATISTICS = ("rank", "sign")


def from_likelihoods(rows: Iterable[tuple[str, float, float]]) -> dict[str, float]:
    """Preferences from rows (site id, log-likelihood of answer 0, of answer 1); several rows of a site are averaged.

    Raises:
        TwinsError: A log-likelihood is not finite.
    """
    differences: dict[str, list[float]] = {}
    for site, zero, one in rows:
        if zero is None or one is None or not np.isfinite([zero, one]).all():
            raise TwinsError(f"log-likelihoods of site {site} must be finite, got {zero} and {one}")
        differences.setdefault(site, []).append(one - zero)
    return {site: float(np.mean(values)) for site, values in differences.items()}


def from_texts(rows: Iterable[tuple[str, str]], answers: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    """Preferences from a suspect's own answers: how much it says of what only answer 1 says, less that of answer 0.

    Args:
        rows: Site id, and what the suspect answers to its prompt; several rows of a site are averaged.
        answers: Both answers of each site; rows of other sites are dropped.
    """
    differences: dict[str, list[float]] = {}
    for site, text in rows:
        if site in answers:
            zero, one = (_grams(answer) for answer in answers[site])
            said = _grams(text)
            differences.setdefault(site, []).append(_share(said, one - zero) - _share(said, zero - one))
    return {site: float(np.mean(values)) for site, values in differences.items()}


def contrast(suspect: Mapping[str, float], clean: Mapping[str, float]) -> dict[str, float]:
    """Take off what a model prefers that never saw the released answers; costs no validity, whatever that model is."""
    return {site: value - clean.get(site, 0.0) for site, value in suspect.items()}


def as_integers(preferences: Mapping[str, float], statistic: str) -> dict[str, int]:
    """Signs, or signs times the rank of the size; sites where nothing is preferred are left out.

    Where sizes tie they get their mean rank, and all ranks are doubled to stay integers.

    Raises:
        TwinsError: An unknown statistic.
    """
    if statistic not in STATISTICS:
        raise TwinsError(f"statistic must be one of {', '.join(STATISTICS)}, got {statistic!r}")
    sites = [site for site, value in preferences.items() if value != 0]
    values = np.array([preferences[site] for site in sites])
    sizes = 2 * rankdata(np.abs(values)) if statistic == "rank" and sites else np.ones(len(sites))
    signed = (np.sign(values) * sizes).astype(np.int64)
    halved = signed // 2 if not (signed % 2).any() else signed
    return dict(zip(sites, halved.tolist(), strict=True))


def _grams(text: str) -> set[str]:
    words = re.findall(r"\w+", text.casefold())
    return {*words, *(f"{left} {right}" for left, right in pairwise(words))}


def _share(said: set[str], telling: set[str]) -> float:
    return len(said & telling) / len(telling) if telling else 0.0
