"""What an evaluation reads from disk: a student and where it came from, and further texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from kdguard.distill.evaluate.judged import Judged
from kdguard.distill.models import load_model, load_tokenizer
from kdguard.errors import InputError


@dataclass(frozen=True, slots=True)
class Origin:
    """A student on disk.

    Attributes:
        folder: Of the model.
        dose: What it got of its teacher, as its manifest tells; None where no manifest lies beside it.
        history: The course of its training, where it is told.
    """

    folder: Path
    dose: dict[str, Any] | None = None
    history: tuple[dict[str, Any], ...] = ()


def origin_of(path: Path) -> Origin:
    """Find a student: in what `distill train` or `simulate attack` wrote, or in a plain model folder.

    Raises:
        InputError: The manifest beside it is damaged.
    """
    base = path if (path / "student").is_dir() else path.parent
    folder = path / "student" if base is path else path
    file = base / "manifest.json"
    if folder.name != "student" or not file.is_file():
        return Origin(folder)
    try:
        manifest = orjson.loads(file.read_bytes())
        if manifest["kind"] == "student":
            return Origin(folder, manifest["dose"], tuple(manifest["history"]))
        if manifest["kind"] == "attack" and manifest["student"] is not None:
            spent = {"queries": manifest["spent"]["requests"], "graded_tokens": 0}
            return Origin(folder, spent | manifest["student"]["dose"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{file}: is damaged, or not the manifest of a student: {error!r}") from error
    return Origin(folder)


def load_judged(role: str, path: Path, device: str = "cpu") -> Judged:
    """Load a model folder for an evaluation; it is called by the folder's name.

    Raises:
        ModelError: The folder is not safe to load, or holds no model.
    """
    return Judged(role, path.resolve().name, load_model(path, device=device), load_tokenizer(path))


def read_texts(paths: Sequence[Path]) -> tuple[str, ...]:
    """Texts of files.

    Raises:
        InputError: A file that cannot be read as UTF-8.
    """
    found = []
    for path in paths:
        try:
            found.append(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return tuple(found)
