"""What is kept when a loss stops being finite: the batch that did it, so that a person can look."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from kdguard.distill.students.engine import Engine, Reading
from kdguard.distill.students.order import step_rows
from kdguard.errors import TrainingError


def save_broken_batch(engine: Engine, reading: Reading, folder: Path | None) -> TrainingError:
    """Write the first batch whose loss or gradient was not finite, and the error that names it.

    The weights are spoilt from that step on; the last checkpoint is not.

    Args:
        engine: The run.
        reading: With at least one broken slot.
        folder: The run's folder; None = a new one among the temporary files.
    """
    slots = np.flatnonzero(reading.broken >= 0)
    step = int(reading.broken[slots].min())
    place = int(slots[reading.broken[slots] == step][0])
    slot = engine.slots[place]
    rows = step_rows(engine.slots, engine.plan, step)[:, place].ravel()
    data = slot.data
    arrays = {name: getattr(data, name)[rows] for name in ("tokens", "documents", "positions", "weights")}
    if data.soft is not None and data.soft_rows is not None:
        pointers = data.soft_rows[rows]
        used = pointers[pointers >= 0]
        arrays |= {"soft_rows": pointers, "soft_ids": data.soft.ids[used], "soft_tail": data.soft.tail[used]}
        arrays["soft_logprobs"] = data.soft.logprobs[used]
    described = {"step": step, "slot": slot.name, "rows": rows.tolist(), **slot.record()}
    target = save_batch(arrays, described, step, folder)
    others = f" ({len(slots)} slots in all)" if len(slots) > 1 else ""
    return TrainingError(
        f"loss or gradient of '{slot.name}' was not finite at step {step + 1}{others}; its batch is in {target}. "
        f"Look for odd tokens or weights there, or lower the learning rate ({slot.learning_rate:g})"
    )


def save_batch(
    arrays: Mapping[str, np.ndarray], described: Mapping[str, Any], step: int, folder: Path | None
) -> Path:
    """Write a batch and its description to a folder of its own, and give that folder."""
    target = (folder or Path(tempfile.mkdtemp(prefix="kdguard-"))) / f"broken-step-{step:09d}"
    target.mkdir(parents=True, exist_ok=True)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(whole, target / "batch.safetensors")
    (target / "batch.json").write_text(json.dumps(dict(described), indent=1), encoding="utf-8")
    return target
