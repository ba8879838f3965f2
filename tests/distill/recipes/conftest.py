"""One teacher for all recipes of a test session."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdguard.distill.recipes.run import train_recipe
from tests.distill.recipes.tiny import TEACHER, read


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `teacher/student`."""
    place = tmp_path_factory.mktemp("recipes")
    train_recipe(read(TEACHER, place), place / "teacher")
    return place
