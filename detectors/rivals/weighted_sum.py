"""A hand-weighted heuristic: keyword, pace and sameness signals, fixed weights, fixed cut-offs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.detectors.rivals.rate_limit import account_times, busiest_hour
from kdguard.features.text import edge_codes, hash_words
from kdguard.simulate.evaluation.rivalry import Conversations

Floats = npt.NDArray[np.float64]

WEIGHTS: Mapping[str, float] = {
    "elicitation words": 0.25,
    "same opening": 0.20,
    "pace": 0.15,
    "regular gaps": 0.10,
    "round the clock": 0.10,
    "long answers": 0.10,
    "refused": 0.05,
    "new model": 0.05,
}
"""Shares that add to 1, set by hand."""
CUTS: Mapping[str, float] = {"published, .35": 0.35, "published, .55": 0.55, "published, .72": 0.72}
_WORDS = re.compile(
    r"step[ -]by[ -]step|chain of thought|show your (?:work|reasoning)|think (?:aloud|out loud)|<think"
    r"|scratchpad|reasoning (?:trace|process|steps)|inner monologue|explain your reasoning|rubric"
    r"|score (?:this|the) (?:answer|response)|which (?:answer|response) is better|training data|verbatim"
    r"|instruction[- ]following data|system prompt",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class WeightedSum:
    """Eight signals in [0, 1], added with weights set by hand; review, restrict and ban at .35, .55 and .72.

    After the shape of an open-source daemon: an English list of phrases, pace, timing and structure, weights
    that add to 1. Its multiplier for one country is left out, as nationality is no evidence; its payment and
    handshake graph is cross-account and not part of this per-account comparison. Phrases, weights and scales
    are ours.

    References:
        Glasswally, https://github.com/m0rs3c0d3/Glasswally, threat model and cut-offs (March 2026).
    """

    name: str = "weighted sum"
    source: str = "after Glasswally (2026): hand-set weights and cut-offs, per account, no country multiplier"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The three cut-offs."""
        return CUTS

    def fit(self, benign: Conversations, requests: int, seed: int) -> WeightedSum:
        """Nothing to learn: everything was set by hand."""
        del benign, requests, seed
        return self

    def score(self, accounts: Conversations) -> Floats:
        """Weighted sum of the signals, shape (m,)."""
        found = signals(accounts)
        total: Floats = np.sum([WEIGHTS[name] * found[name] for name in WEIGHTS], axis=0)
        return total


def signals(accounts: Conversations) -> dict[str, Floats]:
    """The eight signals of m accounts, each of shape (m,), in [0, 1]."""
    size = np.diff(accounts.indptr)
    prompts = accounts.prompts.to_pylist()
    wordy = np.array([_WORDS.search(text or "") is not None for text in prompts], np.float64)
    head, _ = edge_codes(hash_words(accounts.prompts), 5)
    times = account_times(accounts)
    return {
        "elicitation words": _share(wordy, accounts, size),
        "same opening": np.array([_sameness(part) for part in np.split(head, accounts.indptr[1:-1])]),
        "pace": np.array([min(np.nan_to_num(busiest_hour(part)) / 200, 1.0) for part in times]),
        "regular gaps": np.array([_regularity(part) for part in times]),
        "round the clock": np.array([_hours(part) for part in times]),
        "long answers": np.minimum(_share(_numbers(accounts, "output_tokens"), accounts, size) / 2_000, 1),
        "refused": np.minimum(4 * _share(_numbers(accounts, "refused"), accounts, size), 1),
        "new model": _late_model(accounts),
    }


def _share(values: Floats, accounts: Conversations, size: npt.NDArray[np.int64]) -> Floats:
    sums = np.concatenate(([0.0], np.cumsum(values)))
    mean: Floats = (sums[accounts.indptr[1:]] - sums[accounts.indptr[:-1]]) / np.maximum(size, 1)
    return mean


def _numbers(accounts: Conversations, name: str) -> Floats:
    column = accounts.table.column(name).cast(pa.float64())
    values: Floats = np.nan_to_num(column.to_numpy(zero_copy_only=False).astype(np.float64))
    return values


def _sameness(codes: npt.NDArray[np.uint64]) -> float:
    """Share of the requests that open like the commonest one, less the first."""
    if len(codes) < 2:
        return 0.0
    return float((np.unique(codes, return_counts=True)[1].max() - 1) / (len(codes) - 1))


def _regularity(time_us: Floats) -> float:
    gaps = np.diff(time_us[~np.isnan(time_us)])
    if len(gaps) < 2 or gaps.mean() <= 0:
        return 0.0
    return float(max(0.0, 1.0 - gaps.std() / gaps.mean()))


def _hours(time_us: Floats) -> float:
    known = time_us[~np.isnan(time_us)]
    return len(np.unique(known // 3_600_000_000 % 24)) / 24


def _late_model(accounts: Conversations) -> Floats:
    """Share of the later half on models that the first half did not use."""
    models = accounts.table.column("model").to_numpy(zero_copy_only=False).astype(str)
    halves = [np.array_split(part, 2) for part in np.split(models, accounts.indptr[1:-1])]
    return np.array([float(np.mean(~np.isin(late, early))) if len(late) else 0.0 for early, late in halves])
