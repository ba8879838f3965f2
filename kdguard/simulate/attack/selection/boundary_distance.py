"""How small a push moves a student over its decision boundary; the nearest are asked first.

References:
    Moosavi-Dezfooli et al. (2016), DeepFool, arXiv 1511.04599, eq. 6 (one step of it);
    Pal et al. (2020), ActiveThief, which asks such examples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def boundary_distance(logits_of: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """First-order Euclidean distance of each input to the nearest class boundary.

    Args:
        logits_of: The student, (n, d) to (n, c); rows must not influence each other.
        inputs: Shape (n, d).

    Returns:
        Shape (n,), not negative: min over classes of |f_k - f_y| / ||grad f_k - grad f_y||. Exact for a linear
        student.
    """
    moved = inputs.detach().clone().requires_grad_(True)
    logits = logits_of(moved)
    n, classes = logits.shape
    rows = torch.stack(
        [
            torch.autograd.grad(logits[:, k].sum(), moved, retain_graph=k + 1 < classes)[0]
            for k in range(classes)
        ],
        dim=1,
    )  # (n, c, d)
    place = torch.arange(n)
    predicted = logits.detach().argmax(dim=1)
    gap = (logits.detach() - logits.detach()[place, predicted, None]).abs()
    slope = (rows - rows[place, predicted, None]).flatten(2).norm(dim=2)
    distance = gap / slope.clamp_min(1e-12)
    distance[place, predicted] = torch.inf
    return distance.min(dim=1).values
