"""Our engine: one student or a fleet on recorded soft targets, or one student beside its teacher."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import torch

from kdguard.distill.students.engine import Engine
from kdguard.distill.students.order import step_rows
from kdguard.distill.students.plan import Mix, Plan, Slot
from kdguard.distill.students.pool import gather
from kdguard.distill.students.weights import from_transformers
from tests.bench.at_hand import TeacherAtHand
from tests.bench.training.batches import BETAS, CLIP, LEARNING_RATE, SOFT, TEXT, WEIGHT_DECAY
from tests.bench.training.data import SIZES, Size, make
from tests.bench.training.turns import Turns, run


def engine(size: Size, folder: Path, given: argparse.Namespace, device: torch.device) -> Engine:
    """The engine with one slot a data set."""
    mix = Mix(text=0.0, soft=1.0) if given.online else Mix(text=TEXT, soft=SOFT)
    slots = [
        Slot(
            name=str(at),
            data=make(size, at),
            mix=mix,
            seed=at,
            learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
        )
        for at in range(given.students)
    ]
    plan = Plan(
        steps=size.most_steps,
        rows=size.rows,
        micro_rows=size.fleet_micro_rows if len(slots) > 1 else None,
        arithmetic="bfloat16" if given.narrow else "float32",
        compiled=given.compiled,
        graphed=given.graphed,
        warmup=0.0,
        final=1.0,
        clip=CLIP,
        betas=BETAS,
    )
    if not given.online:
        return Engine(size.shape, slots, plan, device)
    from transformers import LlamaForCausalLM

    state = LlamaForCausalLM.from_pretrained(folder / "teacher", dtype=torch.float32).state_dict()
    teacher = from_transformers(state, size.shape)
    return TeacherAtHand(size.shape, slots, plan, device, teacher, size.shape)


def first_batch(held: Engine, *, backward: bool) -> float:
    """Loss of slot 0 on the rows of the first step, under the weights as they are; leaves gradients if asked."""
    rows = step_rows(held.slots, held.plan, 0) + held.pool.first[:, None]
    row_ids = torch.from_numpy(rows).to(held.device)
    count = held.pool.weights[row_ids].sum((0, 2, 3)).unsqueeze(1)
    found = 0.0
    for part in row_ids.unbind(0):
        batch, targets = gather(held.pool, part, held.extent, count, held.dtype)
        losses = held.losses(batch, targets)
        if backward:
            torch.autograd.backward(losses.total.sum())
        found += float(losses.total[0].detach())
    return found


def gradient_norm(held: Engine) -> float:
    """Norm of slot 0's gradients; leaves them zero."""
    grads = [weight.grad[0] for weight in held.weights.values() if weight.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(grads))
    held.optimiser.zero()
    return norm


def main() -> None:
    """Serve turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--students", type=int, default=1)
    for flag in ("online", "narrow", "compiled", "graphed"):
        parser.add_argument(f"--{flag}", action="store_true")
    given = parser.parse_args()
    device = torch.device(given.device)
    turns = Turns(device)
    held = engine(SIZES[given.size], given.folder, given, device)
    loss = first_batch(held, backward=True)
    turns.ready(loss, gradient_norm(held))
    number = itertools.count()

    def loss_now() -> float:
        with torch.no_grad():
            return first_batch(held, backward=False)

    run(turns, lambda: held.step(next(number)), loss_now)


if __name__ == "__main__":
    main()
