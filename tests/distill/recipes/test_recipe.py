"""What a recipe may say: unknown keys, impossible parts and undeclared looks inside are refused with the reason."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kdguard.distill.recipes.recipe import Recipe, load_recipe, packaged_recipes, recipe_from
from kdguard.distill.recipes.run import Listener, train_recipe
from kdguard.distill.students.fleet import Report
from kdguard.errors import InputError, OwnershipError, TrainingError
from tests.distill.recipes.tiny import ASKED, CORPUS, OWNED, STUDENT, objective, read, tiny

ALONE = STUDENT.split("[[teachers]]")[0].replace('kind = "teacher"', "vocabulary = 350")
TOPK = ASKED + 'soft = "topk"\n'
REFUSED = {
    "unknown key": (tiny("forward_kl", "hot = 1"), "objective.hot: unknown key"),
    "unknown table": (tiny("forward_kl") + "[extra]\n", "extra: unknown key"),
    "no TOML": ("name = ", "not valid TOML"),
    "no data": (f'name = "x"\n{STUDENT}', "data: Field required"),
    "unknown kind of data": (tiny("forward_kl", data='[[data]]\nkind = "web"\n'), "data.0"),
    "unknown objective": (tiny("sideways_kl"), "There is no objective 'sideways_kl'"),
    "no teacher": (tiny("forward_kl", rest=ALONE), r"'forward_kl' needs a table \[\[teachers\]\]"),
    "two teachers": (
        tiny("forward_kl", rest=STUDENT + '[[teachers]]\npath = "b"\n'),
        "several mix by the objective 'multi_teacher_kl'",
    ),
    "wrong soft targets": (
        tiny("sampled_kl", data=TOPK),
        "learns from soft = 'sampled', data says soft = 'topk'",
    ),
    "no soft targets": (tiny("topk_tail_kl"), "needs data of kind 'transcripts' or 'asked'"),
    "unknown option": (tiny("gkd", "[objective.options]\ngamma = 1"), "unknown key gamma; 'gkd' has beta"),
    "no document": (
        tiny(
            "prompt_distillation",
            rest=STUDENT.replace('[tokenizer]\nkind = "teacher"\n', "").replace(
                'shape = "micro"', 'path = "a"'
            ),
        ),
        "needs objective.options.document",
    ),
    "nothing to start from": (
        tiny("prompt_distillation", '[objective.options]\ndocument = "x"'),
        "needs a student that can already answer",
    ),
    "micro_rows": (
        tiny("forward_kl", rest=STUDENT.replace("rows = 4", "rows = 4\nmicro_rows = 3")),
        "micro_rows must divide plan.rows, got 3 and 4",
    ),
    "compiled loop": (
        tiny("forward_kl", rest=STUDENT.replace("rows = 4", "rows = 4\ncompiled = true")),
        "trains in the plain loop",
    ),
    "text twice": (tiny("hinton", "text = 0.5"), "holds cross-entropy already"),
    "soft on text": (tiny("cross_entropy", "soft = 0.5"), "'cross_entropy' is the text itself"),
    "no weight": (tiny("forward_kl", "soft = 0.0"), "must not both be 0"),
    "two devices": (
        tiny("forward_kl", rest=STUDENT + 'device = "cuda"\n'),
        "give both one device, got cpu and cuda",
    ),
    "unknown shape": (tiny("forward_kl", rest=STUDENT.replace("micro", "huge")), "no shape 'huge'"),
    "unknown world": (
        tiny("forward_kl", data=CORPUS + 'world = "dolomite"\n'),
        "no teacher world 'dolomite'",
    ),
    "masks on whole answers": (
        tiny("uld", rest=STUDENT + '[masks]\nreasoning = "answer"\n'),
        "leave out the table 'masks'",
    ),
    "tokenizer path": (
        tiny("cross_entropy", rest=ALONE.replace("vocabulary = 350", 'kind = "folder"')),
        "'path' belongs to kind = 'folder'",
    ),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        recipe_from(text)


@pytest.mark.parametrize("name", ["hidden_mse", "rkd_angle", "distilbert_triple", "tinybert"])
def test_a_look_inside_needs_ownership(name: str) -> None:
    with pytest.raises(OwnershipError, match="need a declaration of ownership"):
        recipe_from(tiny(name))
    with pytest.raises(OwnershipError, match="'owned' must be true"):
        recipe_from(tiny(name, rest=STUDENT + OWNED.replace("true", "false")))
    assert recipe_from(tiny(name, rest=STUDENT + OWNED)).objective.name == name


def test_ownership_is_of_the_teacher_that_is_used(base: Path, tmp_path: Path) -> None:
    recipe = read(tiny("hidden_mse", rest=STUDENT + OWNED.replace('"teacher"', '"another"')), base)
    with pytest.raises(OwnershipError, match="about 'another', not about 'teacher'"):
        train_recipe(recipe, tmp_path)


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_can_be_read(name: str) -> None:
    assert load_recipe(name).name == name


def test_a_recipe_that_does_not_exist() -> None:
    with pytest.raises(TrainingError, match="packaged are: teacher, untaught"):
        load_recipe("nothing")


def test_paths_begin_at_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(tiny("forward_kl"))
    recipe = load_recipe(tmp_path / "r.toml")
    assert recipe.teachers[0].path == tmp_path / "teacher" / "student"
    assert recipe.as_written.teachers[0].path == Path("teacher/student")
    assert recipe.digest == recipe_from(tiny("forward_kl")).digest  # wherever the file lies


def test_a_folder_of_another_run_is_refused(base: Path, tmp_path: Path) -> None:
    recipe = read(f'name = "a"\n{CORPUS}{ALONE}{objective("cross_entropy")}', base)
    manifest = train_recipe(recipe, tmp_path)
    other = Recipe.model_validate(recipe.model_dump() | {"seed": 1})
    with pytest.raises(TrainingError, match="holds the run of another recipe"):
        train_recipe(other, tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(TrainingError, match="schema_version must be at most 1, got 99"):
        train_recipe(recipe, tmp_path)
    path.write_text("[]")
    with pytest.raises(TrainingError, match="not the manifest of a training run"):
        train_recipe(recipe, tmp_path)


def test_teachers_of_another_tokenizer_are_refused_where_tokens_are_compared(
    base: Path, tmp_path: Path
) -> None:
    recipe = read(tiny("forward_kl", rest=STUDENT.replace('kind = "teacher"', "vocabulary = 350")), base)
    with pytest.raises(TrainingError, match=r"another tokenizer: set tokenizer.kind = 'teacher', or choose"):
        train_recipe(recipe, tmp_path)


@pytest.mark.parametrize("name", ["topk_tail_kl", "forward_kl"], ids=["fleet", "loop"])
def test_an_interrupted_run_ends_with_the_same_bytes(name: str, base: Path, tmp_path: Path) -> None:
    data = TOPK if name == "topk_tail_kl" else CORPUS
    recipe = read(tiny(name, data=data), base)
    whole = train_recipe(recipe, tmp_path / "whole")

    def stop(who: str, report: Report) -> None:
        if report.step == 4:  # behind the checkpoint of step 2, before that of step 4
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe, tmp_path / "cut", Listener(report=stop))
    assert not (tmp_path / "cut" / "manifest.json").exists()
    steps: list[int] = []
    resumed = train_recipe(
        recipe, tmp_path / "cut", Listener(report=lambda who, told: steps.append(told.step))
    )
    assert steps == [4]
    assert resumed["student"]["digest"] == whole["student"]["digest"]
    assert resumed["dose"] == whole["dose"]
    assert resumed["history"] == whole["history"]


def test_the_recipe_of_the_readme_can_be_read() -> None:
    folder = Path(__file__).resolve().parents[3] / "kdguard" / "distill" / "recipes"
    (block,) = re.findall(r"```toml\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    recipe = recipe_from(block)
    assert recipe.objective.name == "topk_tail_kl"
    assert recipe.ownership is not None
