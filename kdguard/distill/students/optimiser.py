"""AdamW over stacked weights in which every slot has its own learning rate, weight decay and gradient norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kdguard.distill.students.plan import Plan, Slot

MOMENTS = ("exp_avg", "exp_avg_sq")


class StackedAdamW:
    """torch's fused AdamW on one view a slot and weight, so that a slot's update is that of the student alone.

    Gradients are accumulated into buffers that stay where they are; `rates` is read by the device at every step.

    Args:
        weights: Stacked leaves; their `grad` is set to zeros here.
        slots: For their weight decay.
        plan: For Adam's constants.

    References:
        Loshchilov & Hutter (2019), Decoupled Weight Decay Regularization.
    """

    def __init__(self, weights: Mapping[str, Tensor], slots: Sequence[Slot], plan: Plan) -> None:
        self.weights = dict(weights)
        device = next(iter(self.weights.values())).device
        self.rates = torch.zeros(len(slots), device=device)
        groups = []
        for place, slot in enumerate(slots):
            for decays in (True, False):
                chosen = [name for name, weight in self.weights.items() if (weight.dim() > 2) == decays]
                groups.append(
                    {
                        "params": [self._view(name, place) for name in chosen],
                        "names": chosen,
                        "slot": place,
                        "lr": self.rates[place],
                        "weight_decay": slot.weight_decay if decays else 0.0,
                    }
                )
        self.inner = torch.optim.AdamW(
            groups, betas=plan.betas, eps=plan.epsilon, fused=True, capturable=device.type == "cuda"
        )

    def _view(self, name: str, slot: int) -> Tensor:
        stacked = self.weights[name]
        if stacked.grad is None:
            stacked.grad = torch.zeros_like(stacked)
        view = stacked.detach()[slot].requires_grad_()
        view.grad = stacked.grad[slot]
        return view

    def zero(self) -> None:
        """Set all gradients to zero, in place."""
        torch._foreach_zero_([weight.grad for weight in self.weights.values() if weight.grad is not None])

    def clip(self, most: float) -> Tensor:
        """Shrink every slot's gradient to a norm of at most `most`; gives the norms before, (m,)."""
        grads = [weight.grad.flatten(1) for weight in self.weights.values() if weight.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(grad, dim=1) for grad in grads])
        norm = torch.linalg.vector_norm(norms, dim=0)
        factor = (most / (norm + 1e-6)).clamp_max(1.0).unsqueeze(1)
        torch._foreach_mul_(grads, [factor] * len(grads))
        return norm

    def step(self) -> None:
        """Update the weights."""
        self.inner.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts, stacked like the weights: `exp_avg.NAME`, `exp_avg_sq.NAME`, `step.NAME`."""
        if not self.inner.state:
            return {}
        found: dict[str, list[Tensor]] = {}
        for group in self.inner.param_groups:
            for name, view in zip(group["names"], group["params"], strict=True):
                for key in (*MOMENTS, "step"):
                    found.setdefault(f"{key}.{name}", []).append(self.inner.state[view][key])
        return {key: torch.stack([part.cpu() for part in parts]) for key, parts in found.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, in place where there is a place."""
        for group in self.inner.param_groups if state else ():
            for name, view in zip(group["names"], group["params"], strict=True):
                saved = {key: state[f"{key}.{name}"][group["slot"]] for key in (*MOMENTS, "step")}
                held = self.inner.state[view]
                for key, value in saved.items():
                    if key in held:
                        held[key].copy_(value)
                    else:
                        held[key] = value.to(group["lr"].device, copy=True)

    def forget(self) -> None:
        """Set moments and step counts to zero, in place."""
        for held in self.inner.state.values():
            for value in held.values():
                value.zero_()
