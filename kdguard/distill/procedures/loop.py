"""The plain training loop: one optimiser step after the other, for every family that needs models at hand.

It shares with the fleet the learning-rate schedule, AdamW's constants, the order of data, checkpoints, reports, and the
stop at a loss that is not finite. All randomness is a function of seed and step, so the step is all that a resumed run
must know besides weights, moments and the family's own state.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdguard.distill.procedures.part import Part, Procedure
from kdguard.distill.students.broken import save_batch
from kdguard.distill.students.checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from kdguard.distill.students.fleet import Report
from kdguard.distill.students.optimiser import MOMENTS
from kdguard.distill.students.plan import Plan, scheduled
from kdguard.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast and from where.

    Attributes:
        learning_rate: At the peak of the schedule.
        weight_decay: On matrices, decoupled; vectors have none.
        seed: Of order and draws; the first weights have theirs already.
    """

    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run; the modules of the procedure are trained in place.

    Attributes:
        history: Step, text loss and soft loss at every report.
        seen: Supervised tokens by source, repetitions counted.
        run: Digest of what was trained how.
    """

    history: tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...]
    seen: Mapping[str, int]
    run: str


def run_loop(
    procedure: Procedure,
    plan: Plan,
    pace: Pace,
    *,
    folder: Path | None = None,
    report: Callable[[Report], None] | None = None,
) -> Outcome:
    """Train.

    Losses are divided by the weights of the whole optimiser batch, so cutting it into micro-batches changes nothing
    beyond rounding. Interrupted at any moment and called again with the same arguments and folder, the run goes on from
    its last checkpoint and, on one machine, ends with the same bytes.

    Args:
        procedure: What is trained, and how.
        plan: How long and in which arithmetic. `compiled` and `graphed` are the fleet's.
        pace: How fast.
        folder: For checkpoints and broken batches; None = none are written.
        report: Called at every report.

    Raises:
        TrainingError: A loss or gradient that is not finite: the batch is saved, the weights are not yet spoilt. Or an
            unusable checkpoint.
    """
    loop = _Loop(procedure, plan, pace, folder)
    begin = loop.resume()
    started = time.monotonic()
    tokens_before = sum(loop.seen.values())
    for step in range(begin, plan.steps):
        loop.step(step)
        done = step + 1
        saves = done == plan.steps or (plan.checkpoint_every and done % plan.checkpoint_every == 0)
        if done % plan.report_every == 0 or done == plan.steps or (saves and folder is not None):
            spent = max(time.monotonic() - started, 1e-9)
            pace_now = (sum(loop.seen.values()) - tokens_before) / spent
            told = loop.report(done, pace_now, spent / (done - begin) * (plan.steps - done))
            if report is not None:
                report(told)
        if saves and folder is not None:
            save_checkpoint(loop.checkpoint(done), folder)
    return Outcome(tuple(loop.history), dict(loop.seen), loop.run)


def weights_digest(modules: Mapping[str, torch.nn.Module]) -> str:
    """BLAKE2 digest of the weights of modules, by name."""
    state = hashlib.blake2b(digest_size=16)
    for owner, module in sorted(modules.items()):
        for name, value in module.named_parameters():
            state.update(
                f"{owner}.{name}".encode() + value.detach().float().cpu().contiguous().numpy().tobytes()
            )
    return state.hexdigest()


class _Loop:
    """State of one run."""

    def __init__(self, procedure: Procedure, plan: Plan, pace: Pace, folder: Path | None) -> None:
        self.procedure, self.plan, self.pace, self.folder = procedure, plan, pace, folder
        self.run = self._digest()
        self.history: list[tuple[int, tuple[float, ...], tuple[float, ...]]] = []
        self.seen: Counter[str] = Counter()
        self.weights = {
            f"{owner}.{name}": weight
            for owner, module in procedure.modules.items()
            for name, weight in module.named_parameters()
            if weight.requires_grad
        }
        self.device = next(iter(self.weights.values())).device
        self.optimiser = torch.optim.AdamW(
            self._groups(), lr=0.0, betas=plan.betas, eps=plan.epsilon, fused=True
        )
        narrow = plan.arithmetic == "bfloat16" or (plan.arithmetic == "auto" and self.device.type == "cuda")
        self.arithmetic = torch.autocast(self.device.type, torch.bfloat16, enabled=narrow)
        self.sums = [0.0, 0.0, 0]

    def _groups(self) -> list[dict[str, Any]]:
        decays = [weight for weight in self.weights.values() if weight.dim() > 1]
        plain = [weight for weight in self.weights.values() if weight.dim() <= 1]
        groups = [
            {"params": decays, "weight_decay": self.pace.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def _digest(self) -> str:
        told = self.plan.record()
        del told["report_every"], told["checkpoint_every"]
        described = {
            "plan": told,
            "rate": self.pace.learning_rate,
            "decay": self.pace.weight_decay,
            "seed": self.pace.seed,
            "start": weights_digest(self.procedure.modules),
            "procedure": dict(self.procedure.described),
        }
        text = json.dumps(described, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def step(self, number: int) -> None:
        """One optimiser step; nothing has changed when it raises."""
        rate = scheduled(number, self.plan.steps, self.pace.learning_rate, self.plan)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        text = soft = 0.0
        parts = self.procedure.parts(number)
        for part in parts:
            with self.arithmetic:
                losses = self.procedure.losses(part)
            total = losses.text + losses.soft
            if total.requires_grad:
                total.backward()  # type: ignore[no-untyped-call]
            text += float(losses.text.detach())
            soft += float(losses.soft.detach())
        norms = self._clip()
        if not all(map(_is_finite, (text, soft, *norms))):
            raise self._broken(number, parts, text + soft, norms)
        self.optimiser.step()
        for part in parts:
            self.seen.update(part.dose)
        self.procedure.after(number + 1)
        self.sums = [self.sums[0] + text, self.sums[1] + soft, self.sums[2] + 1]

    def _clip(self) -> list[float]:
        """Shrink each module's gradient to the plan's norm; gives the norms before."""
        return [
            float(torch.nn.utils.clip_grad_norm_(module.parameters(), self.plan.clip))
            for module in self.procedure.modules.values()
        ]

    def _broken(self, step: int, parts: Sequence[Part], loss: float, norms: Sequence[float]) -> TrainingError:
        arrays = {
            f"{place}.{name}": value.detach().cpu().numpy()
            for place, part in enumerate(parts)
            for name, value in part.tensors.items()
        }
        rows = [row for part in parts for row in part.rows]
        described = {"step": step, "rows": rows, "loss": str(loss), "norms": list(map(str, norms))}
        target = save_batch(arrays, described, step, self.folder)
        return TrainingError(
            f"loss or gradient was not finite at step {step + 1}; its batch is in {target}. Look for odd tokens or "
            f"weights there, or lower the learning rate ({self.pace.learning_rate:g})"
        )

    def report(self, done: int, tokens_per_s: float, seconds_left: float) -> Report:
        """Means since the last report, which go into the history."""
        steps = max(self.sums[2], 1)
        text, soft = (self.sums[0] / steps,), (self.sums[1] / steps,)
        self.sums = [0.0, 0.0, 0]
        self.history.append((done, text, soft))
        return Report(done, self.plan.steps, text, soft, tokens_per_s, seconds_left)

    def checkpoint(self, step: int) -> Checkpoint:
        """Weights, moments and the family's own state."""
        tensors = {f"weight.{name}": weight.detach().cpu() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            held = self.optimiser.state.get(weight, {})
            tensors |= {
                f"{key}.{name}": held[key].detach().cpu() for key in (*MOMENTS, "step") if key in held
            }
        tensors |= {f"state.{name}": value.detach().cpu() for name, value in self.procedure.state.items()}
        return Checkpoint(self.run, step, tensors, {"history": self.history, "seen": dict(self.seen)})

    @torch.no_grad()
    def resume(self) -> int:
        """Put the newest checkpoint in place; gives the steps done."""
        saved = latest_checkpoint(self.folder, self.run) if self.folder is not None else None
        if saved is None:
            return 0
        for name, weight in self.weights.items():
            weight.copy_(saved.tensors[f"weight.{name}"])
            found = {key: saved.tensors.get(f"{key}.{name}") for key in (*MOMENTS, "step")}
            self.optimiser.state[weight] = {
                key: value.to(weight.device, copy=True) for key, value in found.items() if value is not None
            }
        for name, value in self.procedure.state.items():
            value.copy_(saved.tensors[f"state.{name}"])
        self.history = [(step, tuple(text), tuple(soft)) for step, text, soft in saved.notes["history"]]
        self.seen = Counter(saved.notes["seen"])
        return saved.step


def _is_finite(value: float) -> bool:
    return value - value == 0
