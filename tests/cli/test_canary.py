"""`kdguard canary` from the plan to a bundle that a stranger verifies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.detectors.canary.planning import read_plan
from kdguard.errors import InputError
from kdguard.ledger.keys import open_keys
from tests.audit.made_case import fixed_keys
from tests.command import run
from tests.detectors.canary.made_plan import suspect_answers

RUN = CliRunner()


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path / "keys"))
    accounts = tmp_path / "accounts.csv"
    accounts.write_text(
        "account_id,requests\n" + "".join(f"a{number},9000\n" for number in range(5)) + "tiny,10\n"
    )
    fixed_keys(tmp_path / "keys")
    words = ("canary", "plan", "--accounts", accounts, "--epoch", "2026-12", "--ledger", tmp_path / "ledger")
    told = json.loads(run(*words, "--out", tmp_path / "canaries.parquet", "--share", "0.005", "--json"))
    assert (told["accounts"], told["unmarked"], told["sites"], told["rows"]) == (5, 1, 9, 45)
    return tmp_path


def _answers(folder: Path, recall: float) -> Path:
    keys = open_keys(folder / "keys").current
    plan = read_plan(folder / "canaries.parquet", keys)
    rows = suspect_answers(plan, keys, "a2", recall, np.random.default_rng(0)) * 2
    if recall == 0:
        rows = [(site_id, "I do not know that one.") for site_id, _ in rows]
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps({"site_id": site, "response": text}) + "\n" for site, text in rows))
    return path


def test_from_plan_to_bundle(planned: Path) -> None:
    answers, case, bundle = _answers(planned, 0.6), planned / "case.json", planned / "case.bundle"
    words = ("canary", "verify", "--canaries", planned / "canaries.parquet", "--answers", answers)
    lines = run(*words, "--case", case, "--json", status=1).splitlines()
    named = [json.loads(line) for line in lines]
    assert {line["subject"] for line in named} == {"a2", "a4"}
    run("audit", "sign", case, "--ledger", planned / "ledger", "--out", bundle)
    told = json.loads(run("audit", "verify", bundle, "--input", answers, "--json"))
    assert told["result"] == named
    revealed = bundle.read_text()
    keys = open_keys(planned / "keys").current
    assert keys.master.reveal().hex() not in revealed


def test_a_named_account(planned: Path) -> None:
    answers = _answers(planned, 1.0)
    words = ("canary", "verify", "--canaries", planned / "canaries.parquet", "--answers", answers)
    assert "exposure" in run(*words, "--account", "a2", status=1)
    run(*words, "--account", "a1", status=0)


def test_nothing_found_is_not_called_clean(planned: Path) -> None:
    words = (
        "canary",
        "verify",
        "--canaries",
        planned / "canaries.parquet",
        "--answers",
        _answers(planned, 0),
    )
    done = RUN.invoke(app, [*map(str, words)])
    assert done.exit_code == 0
    assert "no evidence of absence" in done.output
    assert "clean" not in done.output.replace("--clean", "")


def test_wrong_tables_say_what_they_lack(planned: Path) -> None:
    answers = planned / "answers.csv"
    answers.write_text("site,response\nx,y\n")
    words = ["canary", "verify", "--canaries", str(planned / "canaries.parquet"), "--answers", str(answers)]
    done = RUN.invoke(app, words)
    assert isinstance(done.exception, InputError)
    assert "must have a column 'site_id'; it has site, response" in str(done.exception)
    words[3] = str(answers)
    assert "canary plan" in str(RUN.invoke(app, words).exception)
