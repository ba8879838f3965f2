from __future__ import annotations

from pathlib import Path

import pytest

from kdguard.distill.fleets.recipe import load_recipe
from kdguard.distill.fleets.roster import generations, roster
from kdguard.errors import TrainingError
from tests.distill.fleets.tiny_recipe import tiny_recipe

RECIPE = Path(__file__).parents[3] / "fixtures" / "models" / "recipe.toml"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema_version = 1", "schema_version = 2", "schema_version must be 1, got 2"),
        ("seed = 2026", "seed = 2026\nspeed = 3", "speed: Extra inputs are not permitted"),
        ("[origins]", "[origins]\nsteps_ = 1", "origins.steps_: Extra"),
        ('"basalt", "cobalt"]\nbases', '"nowhere"]\nbases', "different worlds out of aurora"),
        ("doses = [1.0, 0.5, 0.25", "doses = [1.5, 0.5, 0.25", "doses must be shares"),
        ('shape = "tiny"', 'shape = "huge"', "shape must be one of micro"),
        ("name =", "name ==", "must be a recipe in TOML"),
    ],
)
def test_wrong_recipes_are_refused_with_the_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = RECIPE.read_text()
    assert old in text
    (tmp_path / "r.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(TrainingError, match=message):
        load_recipe(tmp_path / "r.toml")


def test_a_missing_recipe_is_an_error() -> None:
    with pytest.raises(TrainingError, match="must be a recipe in TOML"):
        load_recipe("nowhere.toml")


def test_the_shipped_recipe_makes_enough_controls_of_no_teacher() -> None:
    recipe = load_recipe(RECIPE)
    everyone = roster(recipe)
    names = [member.name for member in everyone]
    assert len(set(names)) == len(names)
    assert sum(member.role == "control" and not member.families for member in everyone) >= 120
    assert set(recipe.shipped) <= set(names)
    assert {dose for member in everyone if member.role == "student" for dose in [member.dose]} >= {
        1.0, 0.5, 0.25, 0.1, 0.05,
    }  # fmt: skip
    worlds = [member.world for member in everyone if member.role == "control"]
    assert len(set(worlds)) == len(worlds)


def test_everyone_comes_after_those_it_needs() -> None:
    everyone = roster(tiny_recipe())
    made: set[str] = set()
    for generation in generations(everyone):
        assert all(set(member.needs) <= made for member in generation)
        made |= {member.name for member in generation}
    assert made == {member.name for member in everyone}


def test_students_that_differ_in_their_route_share_all_else() -> None:
    by_name = {member.name: member for member in roster(load_recipe(RECIPE))}
    soft, hard = by_name["aurora-topk-50"], by_name["aurora-rationale-50"]
    assert (soft.seed, soft.start, soft.account, soft.world) == (
        hard.seed,
        hard.start,
        hard.account,
        hard.world,
    )
    assert by_name["aurora-topk-25"].seed != soft.seed


def test_a_merged_model_has_a_partner_of_its_base() -> None:
    everyone = roster(tiny_recipe())
    by_name = {member.name: member for member in everyone}
    merged = [member for member in everyone if member.treatment == "merged"]
    assert merged
    for member in merged:
        assert member.start is not None
        assert member.beside is not None
        assert by_name[member.beside].role == "control"
        assert by_name[member.beside].start == by_name[member.start].start
