"""A careful loop over transformers: SDPA, autocast, fused AdamW, batches made ahead, no waiting for the device."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.bench.training.batches import (
    BETAS,
    CLIP,
    LEARNING_RATE,
    WEIGHT_DECAY,
    Batch,
    Batches,
    offline_loss,
    online_loss,
    taught_logits,
)
from tests.bench.training.turns import Turns, run


def options(description: str | None) -> argparse.Namespace:
    """Options of a loop over transformers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    for flag in ("packed", "all-positions", "online", "narrow", "compiled"):
        parser.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args()


def load(folder: Path, device: torch.device) -> Any:
    """A model with its weights in float32."""
    from transformers import LlamaForCausalLM

    model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    return model.to(device)


def loss_function(given: argparse.Namespace, model: Any, device: torch.device) -> Callable[[Batch], Tensor]:
    """From a batch on the device to the loss."""
    how = {"all_positions": given.all_positions}
    teacher = load(given.folder / "teacher", device).eval() if given.online else None

    def loss_of(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=given.narrow):
            logits = taught_logits(model, batch, **how)
            if teacher is None:
                return offline_loss(logits, batch)
            with torch.no_grad():
                told = taught_logits(teacher, batch, **how)
            return online_loss(logits, told)

    return torch.compile(loss_of, dynamic=True) if given.compiled else loss_of


def loader(batches: Batches, device: torch.device) -> torch.utils.data.DataLoader[Batch]:
    """Batches, made ahead by workers where there is a GPU to keep busy."""
    gpu = device.type == "cuda"
    return torch.utils.data.DataLoader(
        batches, None, num_workers=4 if gpu else 0, pin_memory=gpu, prefetch_factor=4 if gpu else None
    )


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def gradient_norm(model: Any) -> float:
    """Norm of all gradients together."""
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return float(torch.nn.utils.get_total_norm(grads))


def optimiser_of(model: Any) -> torch.optim.Optimizer:
    """Fused AdamW; matrices decay, gains do not."""
    groups = [
        {
            "params": [weight for weight in model.parameters() if weight.dim() > 1],
            "weight_decay": WEIGHT_DECAY,
        },
        {"params": [weight for weight in model.parameters() if weight.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, fused=True)


def main() -> None:
    """Serve turns."""
    given = options(__doc__)
    device = torch.device(given.device)
    turns = Turns(device)
    model = load(given.folder / "student", device).train()
    batches = Batches(given.folder, packed=given.packed)
    loss_of = loss_function(given, model, device)
    first = moved(batches[0], device)
    loss = loss_of(first)
    loss.backward()  # type: ignore[no-untyped-call]
    turns.ready(loss.item(), gradient_norm(model))
    model.zero_grad()
    optimiser = optimiser_of(model)
    ahead: Iterator[Batch] = iter(loader(batches, device))

    def step() -> None:
        loss_of(moved(next(ahead), device)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def loss_now() -> float:
        with torch.no_grad():
            return loss_of(first).item()

    run(turns, step, loss_now)


if __name__ == "__main__":
    main()
