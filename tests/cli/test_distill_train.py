"""`kdguard distill train` and `evaluate` as a user meets them: files, quiet pipes, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.errors import ModelError, OwnershipError, TrainingError

RECIPE = """
name = "small"
[[data]]
kind = "corpus"
examples = 60
tasks = ["intents"]
[tokenizer]
vocabulary = 350
[student]
shape = "micro"
length = 64
[plan]
steps = 6
rows = 4
checkpoint_every = 2
[evaluation]
tasks = ["intents"]
examples = 5
max_tokens = 4
outside = []
control_world = "basalt"
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("train")
    (place / "small.toml").write_text(RECIPE)
    done = CliRunner().invoke(
        app, ["distill", "train", str(place / "small.toml"), "--out", str(place / "out")]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "tokens seen, 0% of them a teacher's words" in done.stderr
    return place / "out"


def test_one_folder_holds_everything(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        *("student", "control", "manifest.json", "report.json", "report.html")
    }
    assert (trained / "student" / "model.safetensors").is_file()
    assert (trained / "student" / "tokenizer.json").is_file()
    assert (trained / "report.html").read_text().startswith("<!DOCTYPE html>")
    report = json.loads((trained / "report.json").read_text())
    assert report["models"].keys() == {"student", "control"}


def test_the_manifest_is_one_object_a_line(trained: Path) -> None:
    recipe = str(trained.parent / "small.toml")
    done = CliRunner().invoke(app, ["distill", "train", recipe, "--out", str(trained), "--json"])
    assert done.exit_code == 0
    (line,) = [line for line in done.stdout.splitlines() if line]
    manifest = json.loads(line)
    assert manifest["kind"] == "student"
    assert manifest["schema_version"] == 1
    assert manifest["seeds"] == {"recipe": 0, "student": 0}


def test_evaluate_takes_a_run_or_a_folder(trained: Path, tmp_path: Path) -> None:
    options = ["--task", "intents", "--examples", "4", "--max-tokens", "3", "--outside", "words"]
    teacher = ["--teacher", str(trained / "control"), "--price-per-hour", "2"]
    done = CliRunner().invoke(
        app, ["distill", "evaluate", str(trained), "--out", str(tmp_path), *teacher, *options, "--json"]
    )
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line]
    report = json.loads(line)
    assert report["agreement"]["in_distribution"]["student"]["top_1"] is not None
    assert report["agreement"]["out_of_distribution"]["student"]["top_1"]["n"] <= 4
    assert report["setting"]["outside"] == ["words"]
    assert report["dose"]["teacher_share"] == 0
    assert report["history"][-1]["step"] == 6
    assert report["efficiency"]["teacher"]["cost_per_1000_requests"]["together"] > 0
    assert (tmp_path / "report.html").is_file()


def test_bad_input_is_told(trained: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"

    def fails(text: str) -> BaseException | None:
        bad.write_text(text)
        return CliRunner().invoke(app, ["distill", "train", str(bad), "--out", str(tmp_path / "x")]).exception

    assert isinstance(fails(RECIPE + "colour = 1\n"), TrainingError)
    assert isinstance(
        fails(RECIPE.replace('name = "small"', 'name = "small"\n[objective]\nname = "hidden_mse"')),
        OwnershipError,
    )
    (trained / "control" / "pickled.bin").write_bytes(b"\x80\x04")
    refused = CliRunner().invoke(
        app,
        ["distill", "evaluate", str(trained), "--teacher", str(trained / "control"), "--out", str(tmp_path)],
    )
    (trained / "control" / "pickled.bin").unlink()
    assert isinstance(refused.exception, ModelError)


def test_a_real_process_says_what_is_wrong_and_exits_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kdguard", "distill", "train", "nothing", "--out", str(tmp_path / "x")]
    told = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert told.returncode == 2
    assert told.stdout == ""
    assert (
        told.stderr == "kdguard: no recipe 'nothing'; packaged are: teacher, untaught, or give a TOML file\n"
    )
