"""Train many students of one shape in one process, each with its own data, seed, objective and learning rate."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.students.broken import save_broken_batch
from kdguard.distill.students.checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from kdguard.distill.students.engine import Engine
from kdguard.distill.students.order import seen
from kdguard.distill.students.plan import Plan, Slot
from kdguard.distill.students.shapes import Shape, llama_config
from kdguard.distill.students.weights import to_transformers, unstack
from kdguard.errors import TrainingError

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@dataclass(frozen=True, slots=True)
class Report:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        steps: Optimiser steps in all.
        text: (m,) mean text loss a step since the last report, weighted as in the mix, nats.
        soft: (m,) mean soft loss, likewise.
        tokens_per_s: Supervised tokens a second of all slots together, since the run was started or resumed.
        seconds_left: At that pace.
    """

    step: int
    steps: int
    text: tuple[float, ...]
    soft: tuple[float, ...]
    tokens_per_s: float
    seconds_left: float

    @property
    def loss(self) -> float:
        """Mean loss over the slots."""
        return float(np.mean(np.add(self.text, self.soft)))


@dataclass(frozen=True, slots=True)
class Fleet:
    """Trained students.

    Attributes:
        shape: Their shape.
        names: Their names; a student is asked for by name or place.
        stacked: Their weights, (m, ...) each, float32 on the CPU.
        seen: Supervised tokens by source that each was trained on, repetitions counted.
        history: Step, text losses and soft losses at every report.
        run: Digest of what was trained how.
    """

    shape: Shape
    names: tuple[str, ...]
    stacked: Mapping[str, Tensor]
    seen: tuple[Mapping[str, int], ...]
    history: tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...]
    run: str

    def place(self, student: str | int) -> int:
        """Slot of a student.

        Raises:
            TrainingError: No student has this name.
        """
        if isinstance(student, int):
            return range(len(self.names))[student]
        if student not in self.names:
            raise TrainingError(f"no student '{student}'; this fleet has {', '.join(self.names)}")
        return self.names.index(student)

    def state_dict(self, student: str | int = 0) -> dict[str, Tensor]:
        """A student's weights under the names of transformers' LlamaForCausalLM."""
        return to_transformers(unstack(self.stacked, self.place(student)), self.shape)

    def model(self, student: str | int = 0, **special_ids: int | None) -> LlamaForCausalLM:
        """A student as a transformers model in evaluation mode.

        Args:
            student: Name or place.
            special_ids: `pad_token_id`, `bos_token_id`, `eos_token_id` for its configuration.
        """
        from transformers import LlamaForCausalLM

        model = LlamaForCausalLM(llama_config(self.shape, **special_ids))
        model.load_state_dict(self.state_dict(student), strict=False)
        model.tie_weights()
        return model.eval()  # type: ignore[no-untyped-call]


def train_fleet(
    shape: Shape,
    slots: Sequence[Slot],
    plan: Plan,
    *,
    device: torch.device | str = "cpu",
    folder: Path | None = None,
    report: Callable[[Report], None] | None = None,
) -> Fleet:
    """Train all slots together.

    Slot i ends with the weights it would have if trained alone, up to rounding. Interrupted at any moment and called
    again with the same arguments and folder, it goes on from the last checkpoint and, on one machine, ends with the
    same bytes.

    Args:
        shape: Shape of every student.
        slots: The students; names are unique.
        plan: How to train.
        device: "cpu", "cuda".
        folder: For checkpoints; None = none are written.
        report: Called at every report.

    Raises:
        TrainingError: Slots that do not go together, an unusable checkpoint, or a loss that is no longer finite;
            then the batch is saved and its place is in the message.
    """
    if len({slot.name for slot in slots}) != len(slots) or not slots:
        raise TrainingError("a fleet needs at least one slot, and names that are unique")
    device = torch.device(device)
    run = run_digest(shape, slots, plan)
    engine = Engine(shape, slots, plan, device)
    history, begin = _resume(engine, folder, run)
    pace = _Pace(engine, begin)
    for step in range(begin, plan.steps):
        engine.step(step)
        done = step + 1
        saves = folder is not None and (
            done == plan.steps or (plan.checkpoint_every and done % plan.checkpoint_every == 0)
        )
        if done % plan.report_every == 0 or done == plan.steps or saves:
            latest = pace.report(done, folder)
            history.append((done, latest.text, latest.soft))
            if report is not None:
                report(latest)
        if saves and folder is not None:
            save_checkpoint(_checkpoint(engine, run, done, history), folder)
    return Fleet(
        shape,
        tuple(slot.name for slot in slots),
        {name: weight.detach().cpu() for name, weight in engine.weights.items()},
        tuple(seen(slot, plan) for slot in slots),
        tuple(history),
        run,
    )


def run_digest(shape: Shape, slots: Sequence[Slot], plan: Plan) -> str:
    """BLAKE2 digest of everything that decides the result. How often to report or save is not part of it."""
    told = plan.record()
    del told["report_every"], told["checkpoint_every"]
    described = {"shape": shape.record(), "slots": [slot.record() for slot in slots], "plan": told}
    state = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16)
    for slot in slots:
        for name, value in sorted((slot.start or {}).items()):
            state.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


History = list[tuple[int, tuple[float, ...], tuple[float, ...]]]


def _resume(engine: Engine, folder: Path | None, run: str) -> tuple[History, int]:
    """Put the newest checkpoint into the engine; gives the history so far and the step to go on with."""
    saved = latest_checkpoint(folder, run) if folder is not None else None
    if saved is None:
        return [], 0
    with torch.no_grad():
        for name, weight in engine.weights.items():
            weight.copy_(saved.tensors[f"weight.{name}"])
    engine.optimiser.load(
        {name: value for name, value in saved.tensors.items() if not name.startswith("weight.")}
    )
    engine.seek(saved.step)
    return [(step, tuple(text), tuple(soft)) for step, text, soft in saved.notes["history"]], saved.step


def _checkpoint(engine: Engine, run: str, step: int, history: History) -> Checkpoint:
    weights = {f"weight.{name}": weight.detach().cpu() for name, weight in engine.weights.items()}
    return Checkpoint(run, step, weights | engine.optimiser.state(), {"history": history})


class _Pace:
    """Turns readings into reports: tokens a second, time left, and a stop when a loss is no longer finite."""

    def __init__(self, engine: Engine, begin: int) -> None:
        self.engine, self.begin, self.started = engine, begin, time.monotonic()
        slots, plan = engine.slots, engine.plan
        self.tokens_per_step = sum(slot.data.supervised / slot.data.rows * plan.rows for slot in slots)

    def report(self, done: int, folder: Path | None) -> Report:
        reading = self.engine.read()
        if (reading.broken >= 0).any():
            raise save_broken_batch(self.engine, reading, folder)
        spent = max(time.monotonic() - self.started, 1e-9)
        steps = done - self.begin
        return Report(
            done,
            self.engine.plan.steps,
            tuple(reading.text.tolist()),
            tuple(reading.soft.tolist()),
            self.tokens_per_step * steps / spent,
            spent / steps * (self.engine.plan.steps - done),
        )
