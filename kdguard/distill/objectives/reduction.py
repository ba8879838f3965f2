"""From losses of positions to the number that is differentiated."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_loss(losses: Tensor, count: int | Tensor) -> Tensor:
    """Sum of the losses over a count that may reach beyond them.

    With `count` = supervised positions of the whole optimiser batch, the gradients of its micro-batches add up to
    exactly the gradient of one big batch, however the positions are spread over them. Dividing each micro-batch by
    its own count does not.

    Args:
        losses: Losses of some positions, shape (n,); n may be 0.
        count: Positions to divide by, at least 0. A count of 0 gives 0, not NaN.

    Returns:
        A scalar, float32 or wider; differentiable even when n = 0.
    """
    total = losses.sum(dtype=torch.promote_types(losses.dtype, torch.float32))
    return total / (count.clamp_min(1) if isinstance(count, Tensor) else max(count, 1))
