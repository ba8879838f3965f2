"""Training recipes: TOML files that say from what a student learns, by which objective, and on what it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from kdguard.distill.recipes import tables
from kdguard.distill.recipes.table import Table, read_table, table_digest
from kdguard.errors import TrainingError


class Recipe(Table):
    """A whole training run. Relative paths are taken from the recipe's folder."""

    name: str = Field(min_length=1)
    seed: int = Field(default=0, ge=0)
    data: tuple[tables.AnyData, ...] = Field(min_length=1)
    filters: tables.FiltersTable = tables.FiltersTable()
    masks: tables.MasksTable = tables.MasksTable()
    tokenizer: tables.TokenizerTable = tables.TokenizerTable()
    student: tables.StudentTable = tables.StudentTable()
    teachers: tuple[tables.TeacherTable, ...] = ()
    objective: tables.ObjectiveTable = tables.ObjectiveTable()
    plan: tables.PlanTable = tables.PlanTable()
    evaluation: tables.EvaluationTable | None = None
    ownership: dict[str, Any] | None = None
    _as_written: Recipe | None = PrivateAttr(default=None)

    @property
    def as_written(self) -> Recipe:
        """The recipe with its paths as they stand in the file: the same wherever the file lies."""
        return self._as_written or self

    @property
    def digest(self) -> str:
        """BLAKE2 digest of everything in it, as written."""
        return table_digest(self.as_written)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a packaged recipe by name or one from a TOML file.

    Raises:
        TrainingError: No such recipe, an unknown key, a value that cannot be, or parts that do not go together.
        OwnershipError: A white-box objective without a declaration.
    """
    path = Path(name_or_path)
    packaged = files("kdguard.distill.recipes").joinpath("packaged", f"{name_or_path}.toml")
    if path.suffix != ".toml" and packaged.is_file():
        return recipe_from(packaged.read_text(encoding="utf-8"), str(name_or_path))
    if not path.is_file():
        raise TrainingError(
            f"no recipe '{name_or_path}'; packaged are: {', '.join(packaged_recipes())}, or give a TOML file"
        )
    return recipe_from(path.read_text(encoding="utf-8"), str(path), base=path.resolve().parent)


def packaged_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with kdguard."""
    found = files("kdguard.distill.recipes").joinpath("packaged").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml")))


def recipe_from(text: str, where: str = "recipe", *, base: Path | None = None) -> Recipe:
    """Read and check the text of a recipe; relative paths are taken from `base`."""
    from kdguard.distill.recipes.checks import check_recipe

    recipe = read_table(text, Recipe, where, TrainingError)
    if base is not None:
        recipe = _placed(recipe, base)
    check_recipe(recipe, where)
    return recipe


def _placed(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with every relative path below `base`."""

    def moved(value: Any) -> Any:
        if isinstance(value, Path):
            return value if value.is_absolute() else base / value
        if isinstance(value, Table):
            update: Mapping[str, Any] = {
                name: moved(getattr(value, name)) for name in type(value).model_fields
            }
            return value.model_copy(update=dict(update))
        return tuple(map(moved, value)) if isinstance(value, tuple) else value

    found: Recipe = moved(recipe)
    found._as_written = recipe
    return found
