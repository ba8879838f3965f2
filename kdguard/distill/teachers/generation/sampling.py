"""From logits to tokens: every row has its own temperature, nucleus, bias and random numbers.

Random numbers come from the Philox counter generator (Salmon et al. 2011, SC '11), keyed by the seed and the
stream of a request and counted by its position: what is decoded beside a sequence cannot change its draws.

Log-probabilities are those of the model by default: before `logit_bias`, temperature and nucleus. The API they
imitate has answered so since February 2024, when it stopped logit bias from showing in log-probabilities after
Carlini et al. (2024), arXiv 2403.06634, recovered a hidden layer through it; temperature never showed. `biased`
tells them after the bias (and before temperature), as that API did until then, so that the attack can be studied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LogprobsOf = Literal["model", "biased"]
Mark = Callable[[Tensor, Tensor], Tensor]
"""Changes what a token is drawn from: (m, t) ids produced so far, -1 in front, and (m, vocab) log-probabilities after
temperature and nucleus, to (m, vocab) scores of which the softmax is drawn from. As processors of transformers."""
MarkOf = Callable[[str | None], Mark | None]
"""Whose answers bear which mark, by account; None = no mark."""
_WORD = (1 << 64) - 1


class Plan(NamedTuple):
    """What any row of a batch needs; rows that do not need it are not changed by it.

    Attributes:
        samples: A row has a temperature above 0.
        nucleus: A row has top_p below 1.
        biased: A row has a logit bias.
        tells: A row wants log-probabilities.
        top: Most alternatives a row wants.
    """

    samples: bool
    nucleus: bool
    biased: bool
    tells: bool
    top: int


class Drawn(NamedTuple):
    """Tokens of m rows, with what was asked about them.

    Attributes:
        tokens: (m,) int64.
        logprobs: (m,) float32.
        top_logprobs: (m, k) float32, likeliest first.
        top_ids: (m, k) int64.
    """

    tokens: Tensor
    logprobs: Tensor | None
    top_logprobs: Tensor | None
    top_ids: Tensor | None


def uniforms(seed: int, stream: int, count: int) -> npt.NDArray[np.float64]:
    """The random numbers of one sequence, one a token, shape (count,), in [0, 1)."""
    generator = np.random.Generator(np.random.Philox(key=[seed & _WORD, stream & _WORD]))
    return generator.random(count)


def draw(
    logits: Tensor,
    *,
    temperature: Tensor,
    top_p: Tensor,
    uniform: Tensor,
    bias: Tensor | None,
    plan: Plan,
    logprobs_of: LogprobsOf,
    mark: Mark | None = None,
    produced: Tensor | None = None,
) -> Drawn:
    """Pick a token in every row.

    Args:
        logits: (m, vocab) float32.
        temperature: (m,) float32; 0 picks the likeliest token.
        top_p: (m,) float32 in (0, 1].
        uniform: (m,) float64 in [0, 1).
        bias: (m, vocab) float32, used if the plan says that a row has one.
        plan: What is needed.
        logprobs_of: Tell log-probabilities before or after the bias.
        mark: Writes a watermark into rows that sample; log-probabilities do not show it.
        produced: What `mark` is given, (m, t) int64.
    """
    shifted = logits + bias if plan.biased and bias is not None else logits
    tokens = shifted.argmax(-1)
    if plan.samples:
        greedy = temperature == 0
        # in float32 a temperature below about 1e-38 would divide by zero
        warmth = torch.where(greedy, 1.0, temperature.clamp_min(1e-30))
        # subtracting the largest logit first keeps a tiny temperature from overflowing
        likely = ((shifted - shifted.gather(1, tokens[:, None])) / warmth[:, None]).softmax(-1)
        if plan.nucleus:
            likely = torch.where(likely >= _smallest_kept(likely, top_p)[:, None], likely, 0.0)
        if mark is not None and produced is not None:
            likely = mark(produced, likely.log()).softmax(-1)
        tokens = torch.where(greedy, tokens, _inverse(likely, uniform))
    if not plan.tells:
        return Drawn(tokens, None, None, None)
    told = shifted if logprobs_of == "biased" else logits
    logprobs = told.log_softmax(-1)
    chosen = logprobs.gather(1, tokens[:, None])[:, 0]
    if not plan.top:
        return Drawn(tokens, chosen, None, None)
    best = logprobs.topk(min(plan.top, logprobs.shape[1]), dim=-1)
    return Drawn(tokens, chosen, best.values, best.indices)


def together(marks: Sequence[Mark | None]) -> Mark | None:
    """One mark for rows that bear different ones, m of them; rows without one are not changed."""
    distinct = list(dict.fromkeys(marks))
    if len(distinct) == 1:
        return distinct[0]

    def change(produced: Tensor, likely: Tensor) -> Tensor:
        told = likely.clone()
        for mark in distinct:
            if mark is not None:
                rows = torch.tensor([at for at, own in enumerate(marks) if own is mark], device=likely.device)
                told[rows] = mark(produced[rows], likely[rows])
        return told

    return change


def _inverse(likely: Tensor, uniform: Tensor) -> Tensor:
    """Invert the distribution function of every row; a token of probability 0 is never drawn."""
    reached = likely.cumsum(-1, dtype=torch.float64)
    target = (uniform * reached[:, -1])[:, None]
    return torch.searchsorted(reached, target, right=True)[:, 0]


def _smallest_kept(likely: Tensor, top_p: Tensor) -> Tensor:
    """Least probability inside the nucleus of every row, (m,): the smallest set whose mass reaches top_p.

    Source: Holtzman et al. (2020), arXiv 1904.09751. Tokens as likely as the last one inside stay with it.
    """
    if likely.device.type == "cpu":  # NumPy sorts a row of values several times faster
        falling = torch.from_numpy(np.sort(likely.numpy(), axis=-1)).flip(-1)
    else:
        falling = likely.sort(-1, descending=True).values
    before = falling.cumsum(-1, dtype=torch.float64) - falling
    inside = (before < top_p[:, None]).sum(-1, keepdim=True)
    return torch.where(top_p < 1, falling.gather(1, inside - 1)[:, 0], 0.0)


def tail(top_logprobs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probability left to tokens outside the alternatives: 1 - sum exp(top_logprobs), (t,) float32 in [0, 1]."""
    held = np.exp(top_logprobs.astype(np.float64)).sum(axis=1)
    return np.clip(1.0 - held, 0.0, 1.0).astype(np.float32)
