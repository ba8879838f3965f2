"""`kdguard canary triggers` and `sinusoid`, from the plan over a gateway and a student to a bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.errors import CanaryError, InputError
from tests.audit.made_case import fixed_keys
from tests.command import run

LABELS = 5
QUERIES = [f"query about {number} things of kind {number * number % 97}" for number in range(3_000)]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path / "keys"))
    fixed_keys(tmp_path / "keys")
    (tmp_path / "accounts.csv").write_text("account_id\nacme\nfair\n")
    return tmp_path


def _plan(folder: Path, form: str, *more: object) -> Path:
    out = folder / f"{form}.json"
    words = ("canary", form, "plan", "--accounts", folder / "accounts.csv", "--epoch", "2026-12")
    run(*words, "--ledger", folder / "ledger", "--out", out, *more)
    return out


def _verified(folder: Path, *inputs: Path) -> list[dict[str, Any]]:
    run("audit", "sign", folder / "case", "--ledger", folder / "ledger", "--out", folder / "bundle")
    shown = [word for path in inputs for word in ("--input", path)]
    told = json.loads(run("audit", "verify", folder / "bundle", *shown, "--json"))
    return list(told["result"])


def test_triggers_from_plan_to_bundle(folder: Path) -> None:
    plan = _plan(folder, "triggers", "--labels", LABELS)
    truth = [{"query": query, "label": len(query) % LABELS} for query in QUERIES]
    words = ("canary", "triggers", "mark", _write(folder / "truth.jsonl", truth), "--plan", plan)
    run(*words, "--account", "acme", "--out", folder / "served.jsonl")
    served = _read(folder / "served.jsonl")
    changed = sum(one["label"] != two["label"] for one, two in zip(truth, served, strict=True))
    assert 3 <= changed <= 40  # mean 15, false-fail rate below 1e-4
    asked = [
        {"account_id": account, "query": one["query"], "label": one["label"], "answer": two["label"]}
        for account in ("acme", "fair")
        for one, two in zip(truth, served, strict=True)
    ]
    words = ("canary", "triggers", "verify", _write(folder / "asked.jsonl", asked), "--plan", plan)
    lines = run(*words, "--case", folder / "case", "--json", status=1).splitlines()
    found = {line["subject"]: line["p_value"] for line in map(json.loads, lines)}
    assert found["acme"] < 1e-6
    assert found["fair"] > 0.001
    result = _verified(folder, folder / "asked.jsonl")
    assert {line["subject"]: line["p_value"] for line in result} == pytest.approx(found, rel=1e-9)


def test_sinusoid_from_plan_to_bundle(folder: Path) -> None:
    plan = _plan(folder, "sinusoid", "--size", "0.2")
    rng = np.random.default_rng(0)
    own = rng.dirichlet(np.ones(3), 600)
    rows = [
        {"query": query, "probabilities": row} for query, row in zip(QUERIES[:600], own.tolist(), strict=True)
    ]
    words = ("canary", "sinusoid", "mark", _write(folder / "own.jsonl", rows), "--plan", plan)
    run(*words, "--account", "acme", "--out", folder / "served.jsonl")
    served = np.array([row["probabilities"] for row in _read(folder / "served.jsonl")])
    assert served.sum(axis=1) == pytest.approx(1)
    assert abs(served - own).max() > 0.05
    asked = [
        {"query": query, "answer": float(one[0] + rng.normal(0, 0.02)), "own": float(two[0])}
        for query, one, two in zip(QUERIES[:600], served, own, strict=True)
    ]
    words = ("canary", "sinusoid", "verify", _write(folder / "asked.jsonl", asked), "--plan", plan)
    lines = run(*words, "--case", folder / "case", "--json", status=1).splitlines()
    found = {line["subject"]: line["p_value"] for line in map(json.loads, lines)}
    assert found["acme"] == pytest.approx(2e-4)
    assert found["fair"] > 0.001
    result = _verified(folder)
    assert {line["subject"]: line["p_value"] for line in result} == found


def test_what_cannot_be_is_refused(folder: Path) -> None:
    plan = _plan(folder, "triggers", "--labels", LABELS)
    words = ("canary", "triggers", "mark", _write(folder / "t.jsonl", [{"query": "a", "label": 1}]), "--plan")
    more = ("--account", "stranger", "--out", str(folder / "s.jsonl"))
    done = CliRunner().invoke(app, [*map(str, words), str(plan), *more])
    assert "'stranger' is not marked in epoch 2026-12" in str(done.exception)
    done = CliRunner().invoke(app, [*map(str, words), str(folder / "accounts.csv"), *more])
    assert isinstance(done.exception, InputError)
    other = ("canary", "sinusoid", "mark", str(folder / "t.jsonl"), "--plan", str(plan), *more)
    done = CliRunner().invoke(app, list(other))
    assert isinstance(done.exception, CanaryError)
    assert "must be a plan of sinusoid" in str(done.exception)
