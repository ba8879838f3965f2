"""Recipes: TOML files that say whom to ask, what, how it hides, and what is trained from the answers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field

from kdguard.distill.recipes.table import Table, read_table, table_digest
from kdguard.errors import AttackError
from kdguard.simulate.attack import tables


class Recipe(Table):
    """A whole attack.

    `student` and `hidden_size` belong to language teachers, one of them at a time, and `classifier` to classifiers;
    a table that has no place is refused.
    """

    name: str = Field(min_length=1)
    seed: int = Field(default=0, ge=0)
    teacher: tables.AnyTeacher = Field(discriminator="kind")
    second_teacher: tables.AnyTeacher | None = Field(default=None, discriminator="kind")
    budget: tables.BudgetTable
    prompts: tables.PromptsTable = tables.PromptsTable()
    ask: tables.AskTable = tables.AskTable()
    campaign: tables.CampaignTable = tables.CampaignTable()
    background: tables.BackgroundTable | None = None
    tactics: tuple[tables.TacticTable, ...] = ()
    student: tables.StudentTable | None = None
    classifier: tables.ClassifierTable | None = None
    hidden_size: tables.HiddenSizeTable | None = None
    ownership: dict[str, Any] | None = None

    @property
    def digest(self) -> str:
        """BLAKE2 digest of everything in it."""
        return table_digest(self)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a packaged recipe by name or one from a TOML file.

    Raises:
        AttackError: No such recipe, no text, an unknown key, an impossible budget, or an objective it may not use.
        TeacherError: A teacher's address beyond loopback without a declaration.
        OwnershipError: A white-box objective without a declaration.
    """
    path = Path(name_or_path)
    packaged = files("kdguard.simulate.attack").joinpath("recipes", f"{name_or_path}.toml")
    if path.suffix != ".toml" and packaged.is_file():
        return recipe_from(packaged.read_text(encoding="utf-8"), str(name_or_path))
    if not path.is_file():
        known = ", ".join(packaged_recipes())
        raise AttackError(f"no recipe '{name_or_path}'; packaged are: {known}, or give a TOML file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AttackError(f"{path}: a recipe must be readable UTF-8 text: {error}") from error
    return recipe_from(text, str(path))


def packaged_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with kdguard."""
    found = files("kdguard.simulate.attack").joinpath("recipes").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml")))


def recipe_from(text: str, where: str = "recipe") -> Recipe:
    """Read and check the text of a recipe."""
    from kdguard.simulate.attack.checks import check_recipe

    recipe = read_table(text, Recipe, where, AttackError)
    check_recipe(recipe, where)
    return recipe
