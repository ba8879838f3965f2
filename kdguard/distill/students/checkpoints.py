"""Checkpoints: a folder with tensors (safetensors) and their description (JSON), written whole or not at all.

The order of the data is a function of seed and step, and training draws no other random number: the step is the data
cursor and the state of the random streams at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdguard.errors import TrainingError

CHECKPOINT_VERSION = 1
KEPT = 2
TENSORS = "tensors.safetensors"
DESCRIPTION = "checkpoint.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a run needs to go on as if it had not stopped.

    Attributes:
        run: Digest of what is trained how; a checkpoint serves only its own run.
        step: Optimiser steps done.
        tensors: Stacked weights, moments and step counts by name.
        notes: Plain values, e.g. the losses so far.
    """

    run: str
    step: int
    tensors: Mapping[str, Tensor]
    notes: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write a checkpoint; the last two are kept.

    A kill at any moment leaves either the whole checkpoint or none of it.

    Raises:
        TrainingError: The disk is full or the folder cannot be written; what was there before is untouched.
    """
    target = folder / f"step-{checkpoint.step:09d}"
    draft = folder / f".draft-{os.getpid()}"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_file({name: value.contiguous() for name, value in checkpoint.tensors.items()}, draft / TENSORS)
        described = {
            "checkpoint_version": CHECKPOINT_VERSION,
            "run": checkpoint.run,
            "step": checkpoint.step,
            "tensors_digest": _digest(draft / TENSORS),
            "notes": dict(checkpoint.notes),
        }
        (draft / DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
        for file in (draft / TENSORS, draft / DESCRIPTION):
            _flush(file)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise TrainingError(
            f"cannot write checkpoint {target}: {error}; free some space and run again"
        ) from error
    for old in _found(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path, run: str) -> Checkpoint | None:
    """The newest checkpoint of a folder, or None if there is none.

    A damaged newest one (a disk lost it) gives way to the one before.

    Raises:
        TrainingError: The checkpoint is of another version or another run, or all of them are damaged.
    """
    found = _found(folder)
    problems = []
    for path in reversed(found):
        try:
            return load_checkpoint(path, run)
        except _DamagedError as error:
            problems.append(str(error))
    if problems:
        raise TrainingError(
            f"no checkpoint in {folder} can be read: {'; '.join(problems)}. Delete the folder."
        )
    return None


class _DamagedError(TrainingError):
    """A checkpoint whose bytes are not what was written."""


def load_checkpoint(path: Path, run: str | None = None) -> Checkpoint:
    """Read one checkpoint.

    Args:
        path: Its folder.
        run: Digest of the run that wants to go on; None = any.

    Raises:
        TrainingError: Other version, other run, or damaged.
    """
    try:
        described = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        version = described["checkpoint_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"{path / DESCRIPTION} is missing or damaged ({error})") from error
    if version != CHECKPOINT_VERSION:
        raise TrainingError(
            f"{path} is a checkpoint of version {version}, this kdguard reads version {CHECKPOINT_VERSION}; "
            "go on with the kdguard that wrote it, or delete it and train again"
        )
    if run is not None and described["run"] != run:
        raise TrainingError(
            f"{path} belongs to another run (digest {described['run']}, this one is {run}): data, seed, objective "
            "or plan differ. Give another folder, or delete this one to begin again"
        )
    try:
        if _digest(path / TENSORS) != described["tensors_digest"]:
            raise _DamagedError(f"{path / TENSORS} is not what was written")
        tensors = load_file(path / TENSORS)
    except (OSError, SafetensorError) as error:
        raise _DamagedError(f"{path / TENSORS} is missing or damaged ({error})") from error
    return Checkpoint(described["run"], described["step"], tensors, described["notes"])


def _found(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
