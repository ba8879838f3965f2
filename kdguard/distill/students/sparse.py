"""Text and sparse soft targets: loss and gradient of the logits in closed form, written over the logits themselves.

Both losses need only the log-sum-exp of a row and the logits of its k + 1 named tokens. With e the exponentials of the
row, Z their sum and R the sum outside the list:

    text           log Z - z_y                          gradient  e / Z - [y]
    listed token   a_j = z_j,  the bucket a_0 = log R   r = T (softmax(a / T) - teacher tempered alike)
    soft           T² KL(teacher_T || softmax(a / T))   gradient  r_j at listed tokens, r_0 e / R elsewhere

so every row needs one exponential, one sum and one product, however many objectives are mixed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.students.head import Slope, Targets


def sparse_slope(logits: Tensor, targets: Targets) -> Slope:
    """Cross-entropy on text plus `topk_tail_kl` to soft targets, weighted; and the gradient of the logits.

    Sampled soft labels are soft targets with an empty tail, at temperature 1: then this is `sampled_kl`.

    Args:
        logits: (m, c, v); overwritten when already float32 or wider.
        targets: Of these positions.

    Returns:
        Weighted sums a slot and the gradient, float32 or wider.
    """
    wide = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    mark = targets.token.unsqueeze(-1)
    peak = wide.amax(-1, keepdim=True)
    spoken = wide.gather(-1, mark) - peak
    if targets.ids is None:
        return _text_slope(wide, targets, peak, spoken, mark)
    return _mixed_slope(wide, targets, peak, spoken, mark)


def _text_slope(wide: Tensor, targets: Targets, peak: Tensor, spoken: Tensor, mark: Tensor) -> Slope:
    weight = targets.weight.to(wide.dtype).unsqueeze(-1)
    powers = wide.sub_(peak).exp_()
    total = powers.sum(-1, keepdim=True)
    text = ((total.log() - spoken) * weight).sum((1, 2))
    slope = powers.mul_(weight / total).scatter_add_(-1, mark, -weight)
    return Slope(text, torch.zeros_like(text), slope)


def _mixed_slope(wide: Tensor, targets: Targets, peak: Tensor, spoken: Tensor, mark: Tensor) -> Slope:
    assert targets.ids is not None
    assert targets.soft_weight is not None
    weight = targets.weight.to(wide.dtype).unsqueeze(-1)
    soft_weight = targets.soft_weight.to(wide.dtype).unsqueeze(-1)
    listed = targets.ids >= 0
    # Padding goes to the last id of the row's list, so that no other token is touched; an empty list to token 0.
    places = torch.where(listed, targets.ids, targets.ids.amax(-1, keepdim=True).clamp_min(0))
    mine = wide.gather(-1, places) - peak
    powers = wide.sub_(peak).exp_().scatter_(-1, places, 0.0)
    rest = powers.sum(-1, keepdim=True)
    own = torch.where(listed, mine.exp(), 0.0)
    # An empty list took token 0 out of the sum; it goes back in and gets its share of the gradient.
    own[..., :1] += torch.where(listed.any(-1, keepdim=True), 0.0, mine[..., :1].exp())
    total = rest + own.sum(-1, keepdim=True)
    text = ((total.log() - spoken) * weight).sum((1, 2))
    losses, pull = _bucketed(torch.where(listed, mine, -torch.inf), rest, targets)
    soft = (losses.unsqueeze(-1) * soft_weight).sum((1, 2))
    pull = pull * soft_weight
    even = weight / total
    slope = powers.mul_(even + pull[..., -1:] / rest.clamp_min(torch.finfo(rest.dtype).tiny))
    named = own * even + torch.where(listed, pull[..., :-1], 0.0)
    return Slope(text, soft, slope.scatter_add_(-1, places, named).scatter_add_(-1, mark, -weight))


def _bucketed(mine: Tensor, rest: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Tempered KL over k + 1 outcomes, (m, c), and its gradient in their logits, (m, c, k + 1)."""
    assert targets.logprobs is not None
    assert targets.tail is not None
    assert targets.temperature is not None
    heat = targets.temperature.to(mine.dtype).unsqueeze(-1)
    student = torch.cat([mine, rest.log()], dim=-1)
    theirs = torch.where(mine.isneginf(), -torch.inf, targets.logprobs.to(mine.dtype))
    tail = torch.where(rest > 0, targets.tail.to(mine.dtype).clamp_min(0).unsqueeze(-1), 0.0).log()
    teacher = torch.cat([theirs, tail], dim=-1)
    log_q, log_p = (torch.log_softmax(side / heat, dim=-1) for side in (student, teacher))
    # A row without any soft target has no distribution; its weight is 0 and so must be its loss and pull.
    known = ~teacher.isneginf().all(-1, keepdim=True)
    shares = torch.where(known, log_p.exp(), 0.0)
    gap = torch.where(shares > 0, log_p - log_q, 0.0)
    losses = (shares * gap).sum(-1) * heat.squeeze(-1) ** 2
    pull = torch.where(known, heat * (log_q.exp() - shares), 0.0)
    return losses, pull
