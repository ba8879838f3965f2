"""Run a recipe, and tie everything together in one folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kdguard.errors import AttackError
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.pools import Split

Say = Callable[[str, int, int], None]
"""Told a stage, how far it is, and how far it goes."""


@dataclass(frozen=True)
class Surroundings:
    """What a run takes from outside the recipe.

    Attributes:
        split: Which public texts and wordings may be used.
        data: Folder with real prompts; None uses the project's own texts.
        say: Hears how far the run is.
    """

    split: Split = "test"
    data: Path | None = None
    say: Say = field(default=lambda stage, done, total: None)


def run_attack(recipe: Recipe, out: Path, around: Surroundings | None = None) -> dict[str, Any]:
    """Run a recipe into a folder. A run that was interrupted goes on where it was, asking nothing twice.

    Args:
        recipe: What to do.
        out: Folder to write: the log that a detector scores, the truth about it, the transcripts' tokens, the student,
            and the manifest that ties them.
        around: Split, data folder and progress.

    Returns:
        The manifest. A folder that is complete is left as it is.

    Raises:
        AttackError: The folder holds the run of another recipe, or the attack brought home nothing.
        TeacherError: The teacher may not be asked.
        TranscriptError: The folder cannot be written, or was begun by another recipe.
    """
    around = around or Surroundings()
    if (done := finished(out, recipe)) is not None:
        return done
    return _body_of(recipe)(recipe, out, around)


def finished(out: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The manifest of a complete run of this recipe in the folder; None if there is none yet."""
    path = out / "manifest.json"
    if not path.is_file():
        return None
    manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    if manifest.get("about", {}).get("recipe_digest") != recipe.digest:
        raise AttackError(f"{out}: holds the run of another recipe; choose another folder")
    return manifest if manifest.get("kind") == "attack" else None


def _body_of(recipe: Recipe) -> Callable[[Recipe, Path, Surroundings], dict[str, Any]]:
    """What runs it; loaded now, since each needs other heavy libraries."""
    if recipe.teacher.kind == "classifier":
        from kdguard.simulate.attack.classifier_run import run_classifier

        return run_classifier
    if recipe.hidden_size is not None:
        from kdguard.simulate.attack.hidden_size_run import run_hidden_size

        return run_hidden_size
    from kdguard.simulate.attack.language_run import run_language

    return run_language
