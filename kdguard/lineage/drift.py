"""Whether an endpoint was one model all along: the first prompts are asked again at the end.

If nothing changed, the two answers of a pair are exchangeable, whatever the model and however it samples. So swapping
the answers of any pairs leaves the distribution as it is, and the rank of the statistic among all swaps is exact.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_PAIRS = 8
"""Fewer pairs cannot make a p-value of .01: there are 2^8 swaps, and a statistic that ignores direction."""
ALPHA_DRIFT = 0.01
SHARE_AGAIN = 0.2
ENOUGH_PAIRS = 20
MOST_PAIRS = 60
_SWAPS = 9_999
_COMMON_TOKENS = 40
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?]+\s")
_LISTED = re.compile(r"\s*(\d+[.)]|[-*\u2022])\s")


@dataclass(frozen=True, slots=True)
class Drift:
    """What asking again showed.

    Attributes:
        pairs: Prompts answered twice.
        p_value: Rank of the shift among swaps; None = too few pairs.
        names: What the endpoint called itself, in the order in which the names came up.
        changed: The endpoint is not one model; no claim may rest on its answers.
        reason: In words.
    """

    pairs: int
    p_value: float | None
    names: tuple[str, ...]
    changed: bool
    reason: str


def asked_again(prompts: int) -> int:
    """How many of the first prompts are to be asked again: a fifth, 20 to 60, and no more than there were."""
    return min(prompts, MOST_PAIRS, max(ENOUGH_PAIRS, ceil(SHARE_AGAIN * prompts)))


def drift(first: Sequence[str], second: Sequence[str], *, names: Sequence[str] = (), seed: int = 0) -> Drift:
    """Test whether second answers to the same prompts differ systematically from the first.

    Args:
        first: Answers, one a prompt.
        second: Later answers to the same prompts, in the same order.
        names: What the endpoint called itself, answer by answer, in time.
        seed: Of the swaps, where there are too many to go through all of them.
    """
    called = tuple(dict.fromkeys(name for name in names if name))
    p_value = permutation_p(first, second, seed=seed) if len(first) >= FEWEST_PAIRS else None
    reason = f"{len(first)} prompts asked again at the end"
    if len(called) > 1:
        told = "', '".join(called[:4])
        reason += f": the endpoint called itself '{told}': it is not one model"
    elif p_value is None:
        reason += f": too few to see a change, {FEWEST_PAIRS} are needed"
    elif p_value <= ALPHA_DRIFT:
        reason += (
            f": its answers changed systematically (permutation p = {p_value:.2g}): not one model all along"
        )
    else:
        reason += f": no systematic change (permutation p = {p_value:.2g})"
    changed = len(called) > 1 or (p_value is not None and p_value <= ALPHA_DRIFT)
    return Drift(len(first), p_value, called, changed, reason)


def permutation_p(first: Sequence[str], second: Sequence[str], *, seed: int = 0) -> float:
    """Exact p-value of a shift between paired answers under swaps within pairs.

    The statistic is the squared length of the mean difference of habits, each on the scale of its own differences.
    """
    shift = habits(second, first) - habits(first, second)
    scale = np.sqrt((shift**2).mean(axis=0))
    shift = shift[:, scale > 0] / scale[scale > 0]
    signs = _signs(len(shift), seed)
    lengths: Floats = ((signs @ shift) ** 2).sum(axis=1)
    own = float((shift.sum(axis=0) ** 2).sum())
    return float((1 + (lengths >= own * (1 - 1e-9)).sum()) / (1 + len(signs)))


def _signs(pairs: int, seed: int) -> Floats:
    """Which pairs are swapped, all ways but none swapped where these are few, else a seeded draw, shape (n, pairs)."""
    if 2**pairs <= _SWAPS:
        number = np.arange(1, 2**pairs)
        bits = (number[:, None] >> np.arange(pairs)) & 1
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (_SWAPS, pairs))
    return np.where(bits == 1, -1.0, 1.0)


def habits(texts: Sequence[str], others: Sequence[str]) -> Floats:
    """Habits of writing that hardly depend on what is asked, shape (n, k): layout, and rates of common tokens.

    Args:
        texts: Answers.
        others: Further answers that have a say in which tokens are common; the order of the two does not matter.
    """
    tokens = [_TOKEN.findall(text.lower()) for text in texts]
    seen = Counter(token for text in (*texts, *others) for token in set(_TOKEN.findall(text.lower())))
    common = sorted(seen, key=lambda token: (-seen[token], token))[:_COMMON_TOKENS]
    rates = [[np.sqrt(words.count(token) / max(len(words), 1)) for token in common] for words in tokens]
    return np.hstack([np.array([_layout(text) for text in texts]), np.array(rates).reshape(len(texts), -1)])


def _layout(text: str) -> list[float]:
    words, lines = text.split(), [line for line in text.splitlines() if line.strip()]
    return [
        np.log1p(len(words)),
        np.log1p(len(lines)),
        np.log1p(sum(bool(_LISTED.match(line)) for line in lines)),
        np.log1p(len(words) / max(len(_SENTENCE_END.findall(text)), 1)),
        np.log1p(len(text) / max(len(words), 1)),
        len({word.lower() for word in words}) / max(len(words), 1),
        float("\n\n" in text),
        float(text[:1].isupper()),
        *(np.log1p(text.count(mark)) for mark in ("**", '"', "!", ":", ",")),
    ]
