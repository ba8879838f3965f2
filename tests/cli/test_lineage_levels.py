"""`kdguard lineage test` by weights and as a classifier, and what it says where options do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.detectors.fingerprint import labels
from kdguard.detectors.fingerprint.labels.network import Network

MODELS = Path(__file__).parents[2] / "fixtures" / "models"


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["lineage", "test", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr + str(done.exception or "")


def test_a_suspect_by_its_weights() -> None:
    suspect = MODELS / "aurora-tuned100"
    weights = ["--suspect-weights", suspect, "--alpha", 0.05, "--json"]
    code, said, _ = run(*weights, "--teacher-weights", MODELS / "aurora")
    told = json.loads(said)
    assert code == 1
    assert (told["suspect"], told["teacher_family"], told["verdict"]) == (
        "aurora-tuned100",
        "aurora",
        "supported",
    )
    assert told["guarantee"] == "invariance"
    assert run(*weights, "--teacher-weights", MODELS / "basalt")[0] == 0


@pytest.fixture
def classifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A teacher, its copy, a classifier with other labels, and the owner's rows; few controls."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(160, 3))
    truth = (rows[:, 0] * rows[:, 1] > 0).astype(np.int64)
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(label=truth)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    network = Network(hidden=12, epochs=3, seed=0).fit(rows[:40], truth[:40])
    inner, outer, shift, bias = (np.asarray(one, np.float32) for one in network.weights_)
    tensors = {"0.weight": inner.T.copy(), "0.bias": shift, "2.weight": outer.T.copy(), "2.bias": bias}
    for name, told in (("teacher", [0, 1]), ("copy", [0, 1]), ("strange", ["cat", "dog"])):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps({"labels": told}))
    made = labels.make_plan

    def quickly(rows: Any, teacher: Any, settings: labels.Settings, *more: Any, **named: Any) -> labels.Plan:
        few = replace(settings, controls=20, design=28)
        return made(rows, teacher, few, *more, **named)

    monkeypatch.setattr(labels, "make_plan", quickly)
    return tmp_path


def test_a_suspect_by_its_labels(classifiers: Path) -> None:
    taught = ["--teacher-classifier", classifiers / "teacher", "--data", classifiers / "rows.csv"]
    code, said, _ = run("--suspect-classifier", classifiers / "copy", *taught, "--budget", 40, "--json")
    told = json.loads(said)
    assert code == 0
    assert told["verdict"] == "inconclusive"
    assert "20 controls cannot support 1 family at 0.01" in told["reason"]
    assert told["guarantee"] == "conformal"
    assert told["queries"] <= 40
    code, _, why = run("--suspect-classifier", classifiers / "strange", *taught)
    assert code != 0
    assert "has cat, dog; a classifier with other labels answers another question" in why
    code, _, why = run("--suspect-classifier", classifiers / "nowhere", *taught)
    assert code != 0
    assert "there is none" in why


def test_a_suspect_with_other_labels_is_refused_before_controls_are_trained(
    classifiers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*more: Any, **named: Any) -> labels.Plan:
        raise AssertionError("controls are trained")

    monkeypatch.setattr(labels, "make_plan", never)
    pd.DataFrame({"query_id": [0], "label": ["cat"]}).to_csv(classifiers / "told.csv", index=False)
    taught = ["--teacher-classifier", classifiers / "teacher", "--data", classifiers / "rows.csv"]
    for suspect, reason in (("strange", "has cat, dog"), ("told.csv", "label 'cat' is none of the 2 labels")):
        code, _, why = run("--suspect-classifier", classifiers / suspect, *taught)
        assert code != 0
        assert reason in why


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--suspect", "a"), "a suspect known by its answers needs --responses"),
        (("--suspect-weights", "DIR"), "--suspect-weights needs --teacher-weights"),
        (("--suspect-classifier", "x"), "--suspect-classifier needs --data"),
        (("--suspect-classifier", "x", "--data", "FILE"), "--suspect-classifier needs --teacher-classifier"),
        (
            (
                "--suspect-weights",
                "DIR",
                "--teacher-weights",
                "DIR",
                "--family",
                "a",
                "--report",
                "page.html",
            ),
            "leave out --family, --report, which --suspect-weights does not take",
        ),
        (
            ("--suspect-weights", "DIR", "--suspect-classifier", "x"),
            "leave out --suspect-classifier, which --suspect-weights does not take",
        ),
        (("--teacher-weights", "DIR", "--suspect", "a"), "leave out --teacher-weights"),
    ],
)
def test_options_that_do_not_fit_are_named(arguments: tuple[str, ...], reason: str) -> None:
    places = {"DIR": str(MODELS / "aurora"), "FILE": str(MODELS / "manifest.json")}
    code, said, why = run(*(places.get(one, one) for one in arguments))
    assert code != 0
    assert said == ""
    assert reason in why
