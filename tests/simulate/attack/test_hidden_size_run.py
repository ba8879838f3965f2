from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kdguard.errors import AttackError
from kdguard.simulate.attack.recipe import load_recipe, recipe_from
from kdguard.simulate.attack.run import run_attack
from tests.simulate.attack.tiny_recipes import changed

READING = """
name = "tiny-reading"
[teacher]
kind = "toy"
examples = 20
steps = 2
vocabulary = 384
biased_logprobs = true
[budget]
requests = 200
[prompts]
source = "random_words"
[[tactics]]
tactic = "T1"
strength = 1.0
accounts = 3
[hidden_size]
prompts = 36
tokens = 54
bias = 20.0
"""


def test_the_width_of_a_toy_is_read_through_its_api(tmp_path: Path) -> None:
    manifest = run_attack(recipe_from(READING), tmp_path)
    told = manifest["hidden_size"]
    width = json.loads((tmp_path / "teacher" / "config.json").read_text())["hidden_size"]
    assert told["size"] == width == 32
    assert told["channel"] == "biased"
    assert told["gap"] > 4
    log = pq.read_table(tmp_path / "exchanges.parquet").to_pandas()
    assert len(log) == told["queries"] == 2 + 36 * 3
    assert log["account_id"].nunique() > 1
    assert (log["max_tokens"] == 1).all()
    assert log["logit_bias"].notna().all()
    assert manifest["student"] is None
    assert run_attack(recipe_from(READING), tmp_path) == manifest


def test_an_interrupted_reading_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_attack(recipe_from(READING), tmp_path / "whole")
    asked: list[object] = []

    def append(self: object, ask: object, answers: object, **columns: object) -> None:
        if len(asked) == 30:
            raise KeyboardInterrupt
        asked.append(ask)
        inner(self, ask, answers, **columns)  # type: ignore[arg-type]

    from kdguard.distill.transcripts.writer import TranscriptWriter

    inner = TranscriptWriter.append
    with monkeypatch.context() as patch:
        patch.setattr(TranscriptWriter, "append", append)
        with pytest.raises(KeyboardInterrupt):
            run_attack(recipe_from(READING), tmp_path / "broken")
    again = run_attack(recipe_from(READING), tmp_path / "broken")
    assert again["hidden_size"]["size"] == 32
    assert again == whole, "digests of all files among them"


def test_without_biased_log_probabilities_the_budget_is_too_small(tmp_path: Path) -> None:
    recipe = recipe_from(changed(READING, biased_logprobs="biased_logprobs = false"))
    with pytest.raises(AttackError, match="budget of 200 requests has 198 left, and 1944 more are needed"):
        run_attack(recipe, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(READING, requests="requests = 100"), "36 prompts and 54 tokens take 110 requests"),
        (READING + '\n[student]\nsteps = 3', "it takes the tactics T1, T10, T13, T2 only, no 'student'"),
        (READING + '\n[[tactics]]\ntactic = "T3"\nstrength = 0.5', "got T3"),
    ],
)  # fmt: skip
def test_what_has_no_place_beside_a_reading_is_refused(text: str, message: str) -> None:
    with pytest.raises(AttackError) as caught:
        recipe_from(text)
    assert message in str(caught.value)


def test_the_packaged_reading_is_affordable() -> None:
    recipe = load_recipe("hidden_size")
    assert recipe.hidden_size is not None
    assert recipe.hidden_size.prompts > 32
