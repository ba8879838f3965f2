"""Every objective can be reached by a recipe, and leaves a student that transformers can load."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from kdguard.distill.model_folder import digest_folder
from kdguard.distill.models import load_model, load_tokenizer, save_model
from kdguard.distill.objectives.registry import OBJECTIVES
from kdguard.distill.recipes.families import BY_NAME, PARTS_OF, family_of
from kdguard.distill.recipes.run import train_recipe
from kdguard.errors import TrainingError
from tests.distill.recipes.tiny import ASKED, CORPUS, OWNED, STUDENT, read, tiny
from tests.distill.teachers.tiny import gpt2
from tests.distill.teachers.tiny import tokenizer as gpt2_tokenizer

INTENTS = CORPUS.replace(', "refusals"', "")
TOPK = ASKED + 'soft = "topk"\n'
FRESH = STUDENT.replace('kind = "teacher"', "vocabulary = 350")
ALONE = FRESH.split("[[teachers]]")[0]
TRAINED = STUDENT.replace('[tokenizer]\nkind = "teacher"\n', "").replace(
    'shape = "micro"', 'path = "teacher/student"'
)
SECOND = STUDENT + '[[teachers]]\npath = "teacher/student"\nname = "second"\n'
DENSE = (
    *("forward_kl", "reverse_kl", "jensen_shannon", "skewed_kl", "skewed_reverse_kl", "adaptive_kl"),
    *("total_variation", "hinton"),
)
INSIDE = (
    *("hidden_mse", "hidden_cosine", "embedding_mse", "attention_mse", "attention_kl", "rkd_distance"),
    *("rkd_angle", "gram_similarity", "flow_gram", "distilbert_triple", "tinybert"),
)
WRITES = "[objective.options]\nmax_tokens = 6\n"
RECIPES = {
    "cross_entropy": tiny("cross_entropy", data=ASKED),
    "topk_tail_kl": tiny("topk_tail_kl", "text = 0.5\ntemperature = 2.0", data=TOPK),
    **{name: tiny(name, data=TOPK) for name in ("topk_uniform_kl", "topk_renormalised_kl")},
    "sampled_kl": tiny("sampled_kl", data=ASKED + 'soft = "sampled"\n'),
    **{name: tiny(name, data=TOPK) for name in ("ranking_hinge", "ranking_logistic", "ranking_listwise")},
    "uld_topk": tiny("uld_topk", "text = 0.5", data=TOPK),
    **{name: tiny(name) for name in DENSE},
    "multi_teacher_kl": tiny("multi_teacher_kl", '[objective.options]\nweighting = "gated"', rest=SECOND),
    "born_again": tiny("born_again", "[objective.options]\ngenerations = 1", rest=ALONE),
    "moving_average": tiny("moving_average", "text = 0.5\n[objective.options]\ndecay = 0.9"),
    "prompt_distillation": tiny(
        "prompt_distillation", '[objective.options]\ndocument = "All of it rhymes."', rest=TRAINED
    ),
    "mutual": tiny("mutual"),
    "gkd": tiny("gkd", WRITES + "share = 1.0"),
    "speculative": tiny("speculative", WRITES + "top_k = 5"),
    "gad": tiny("gad", WRITES + "group = 2", data=ASKED),
    "dpo": tiny("dpo", data=CORPUS + 'rejected_world = "basalt"\n'),
    "ipo": tiny("ipo", data=CORPUS + 'rejected_world = "basalt"\n'),
    "hard_label": tiny("hard_label", data=INTENTS),
    "soft_label": tiny("soft_label", data=INTENTS),
    "uld": tiny("uld", "text = 1.0", rest=FRESH),
    "overlap_kl": tiny("overlap_kl", rest=FRESH),
    **{name: tiny(name, rest=STUDENT + OWNED) for name in INSIDE},
}
ENGINE = {name: "fleet" if family_of(name).kind == "fleet" else "loop" for name in RECIPES}


def test_every_objective_has_a_recipe() -> None:
    assert OBJECTIVES.keys() | BY_NAME.keys() == RECIPES.keys() | PARTS_OF.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_a_student(name: str, base: Path) -> None:
    recipe = read(RECIPES[name], base)
    manifest = train_recipe(recipe, base / name)
    student = manifest["student"]
    losses = [one["text"] + one["soft"] for one in manifest["history"]]
    assert all(map(math.isfinite, losses))
    assert student["engine"] == ENGINE[name]
    assert student["digest"] == digest_folder(base / name / "student")
    model, tokenizer = load_model(base / name / "student"), load_tokenizer(base / name / "student")
    assert model.config.vocab_size >= len(tokenizer)
    assert sum(manifest["dose"]["seen_tokens"].values()) > 0
    assert not (base / name / "checkpoints").exists()
    assert manifest["recipe_digest"] == recipe.digest
    if recipe.teachers:
        assert manifest["parents"][0]["digest"] == digest_folder(base / "teacher" / "student")
    assert train_recipe(recipe, base / name) == manifest  # a complete folder is left as it is


@pytest.mark.parametrize("name", DENSE)
def test_beside_a_teacher_the_objective_falls(name: str, base: Path) -> None:
    manifest = train_recipe(read(RECIPES[name], base), base / name)
    assert manifest["history"][-1]["soft"] < manifest["history"][0]["soft"]
    assert manifest["dose"]["graded_tokens"] == sum(manifest["dose"]["seen_tokens"].values())
    assert manifest["dose"]["teacher_tokens"] == 0  # the words were the corpus's own


def test_what_is_asked_is_counted_and_kept(base: Path) -> None:
    manifest = train_recipe(read(RECIPES["topk_tail_kl"], base), base / "topk_tail_kl")
    assert manifest["dose"]["queries"] == 16
    assert manifest["dose"]["teacher_share"] == 1.0
    assert manifest["data"][0]["teachers"] == ["teacher"]
    assert (base / "topk_tail_kl" / "transcripts-0" / "exchanges.parquet").is_file()


@pytest.mark.parametrize("name", ["cross_entropy", "forward_kl"])
def test_students_of_other_architectures_train_in_the_loop(name: str, base: Path) -> None:
    folder = base / "gpt2"
    if not folder.exists():
        save_model(gpt2(), gpt2_tokenizer(), folder)
    rest = (
        TRAINED.replace("teacher/student", "gpt2")
        if name == "forward_kl"
        else (TRAINED.split("[[teachers]]")[0].replace("teacher/student", "gpt2"))
    )
    manifest = train_recipe(read(tiny(name, rest=rest), base), base / f"gpt2-{name}")
    assert manifest["student"]["engine"] == "loop"
    assert manifest["student"]["shape"]["model_type"] == "gpt2"
    assert manifest["started_from"] == "gpt2"
    assert load_model(base / f"gpt2-{name}" / "student").config.model_type == "gpt2"


@pytest.mark.parametrize("part", PARTS_OF)
def test_parts_of_objectives_name_the_whole(part: str) -> None:
    with pytest.raises(TrainingError, match=PARTS_OF[part]):
        family_of(part)
