from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from kdguard.distill.teachers.protocol import Answer
from kdguard.errors import AttackError
from kdguard.simulate.attack.classifier_run import _told
from kdguard.simulate.attack.recipe import recipe_from
from kdguard.simulate.attack.run import run_attack
from tests.simulate.attack.tiny_recipes import CLASSIFIER, changed


def test_a_classifier_is_stolen_through_its_api(tmp_path: Path) -> None:
    manifest = run_attack(recipe_from(CLASSIFIER), tmp_path)
    log = pq.read_table(tmp_path / "exchanges.parquet").to_pandas()
    assert len(log) == manifest["spent"]["requests"] == 60
    assert len(json.loads(log["prompt"][0])) == 64
    assert log["account_id"].nunique() > 1
    assert (log["label_probs"].map(len) == 1).all()  # the recipe's victim tells the top probability alone
    student = manifest["student"]
    assert student["attack"]["asked"] == 60
    assert student["attack"]["agreement"] > 0.5
    assert student["parents"][0]["name"] == "digits-linear-0"
    assert load_file(tmp_path / "student" / "model.safetensors")["0.weight"].shape == (64, 64)
    assert run_attack(recipe_from(CLASSIFIER), tmp_path) == manifest


def test_an_interrupted_attack_on_a_classifier_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdguard.distill.teachers.classifier import ClassifierTeacher

    recipe = recipe_from(changed(CLASSIFIER, attack='attack = "knockoff_adaptive"'))
    whole = run_attack(recipe, tmp_path / "whole")
    inner, calls = ClassifierTeacher.answer, [0]

    def mortal(self: ClassifierTeacher, asks: object) -> object:
        calls[0] += 1
        if calls[0] == 21:
            raise KeyboardInterrupt
        return inner(self, asks)  # type: ignore[arg-type]

    monkeypatch.setattr(ClassifierTeacher, "answer", mortal)
    with pytest.raises(KeyboardInterrupt):
        run_attack(recipe, tmp_path / "broken")
    again = run_attack(recipe, tmp_path / "broken")
    assert calls[0] == 61
    assert again["student"]["digest"] == whole["student"]["digest"]
    assert again["files"]["log.jsonl"] == whole["files"]["log.jsonl"]


def test_what_is_not_told_is_shared_evenly() -> None:
    answer = Answer(request_id="r", choice=0, model="m", response="3", label="3", label_probs=(("3", 0.55),))
    told = _told(answer)
    assert told[3] == pytest.approx(0.55)
    assert told[0] == pytest.approx(0.05)
    assert _told(replace(answer, label_probs=None)).tolist() == np.eye(10)[3].tolist()
    with pytest.raises(AttackError, match="answered request r with: broken"):
        _told(replace(answer, label=None, error="broken"))


def test_a_budget_too_small_for_the_attack_is_named(tmp_path: Path) -> None:
    with pytest.raises(AttackError, match="at least 10 rows"):
        run_attack(recipe_from(changed(CLASSIFIER, requests="requests = 8")), tmp_path)
