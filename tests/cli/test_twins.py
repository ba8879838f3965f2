"""`kdguard twins` from candidates to a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from tests.audit.made_case import fixed_keys
from tests.command import run
from tests.detectors.twins.made_twins import candidates

RUN = CliRunner()


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _plan(folder: Path, colluders: int) -> dict[str, object]:
    names = ("request_id", "account_id", "prompt", "answer_0", "answer_1")
    rows = [dict(zip(names, row, strict=True)) for row in candidates(6, 160, shared=True)]
    words = ("twins", "plan", "--candidates", _write(folder / "candidates.jsonl", rows), "--epoch", "2026-12")
    more = ("--ledger", folder / "ledger", "--out", folder / "twins.parquet", "--colluders", colluders)
    return json.loads(run(*words, *more, "--json"))


@pytest.fixture(autouse=True)
def _keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path / "keys"))
    fixed_keys(tmp_path / "keys")


@pytest.mark.parametrize("colluders", [1, 2])
def test_from_candidates_to_bundle(tmp_path: Path, colluders: int) -> None:
    told = _plan(tmp_path, colluders)
    assert (told["accounts"], told["median_sites"], told["colluders_supported"]) == (6, 160, 1)
    rows = pq.read_table(tmp_path / "twins.parquet").to_pylist()
    said = [
        {"site_id": row["site_id"], "response": "So: " + row[f"answer_{row['released']}"]}
        for row in rows
        if row["account_id"] == "a3"
    ]
    suspect = _write(tmp_path / "said.jsonl", said)
    words = ("twins", "verify", "--twins", tmp_path / "twins.parquet", "--suspect", suspect)
    named = [
        json.loads(line) for line in run(*words, "--case", tmp_path / "case", "--json", status=1).splitlines()
    ]
    assert [line["subject"] for line in named] == ["a3"]
    bundle = tmp_path / "bundle"
    run("audit", "sign", tmp_path / "case", "--ledger", tmp_path / "ledger", "--out", bundle)
    verified = json.loads(run("audit", "verify", bundle, "--input", suspect, "--json"))
    assert verified["result"] == named
    assert len(verified["committed"]) == colluders


def test_everyone_together_and_against_a_clean_model(tmp_path: Path) -> None:
    _plan(tmp_path, 1)
    rng = np.random.default_rng(0)
    table = pq.read_table(tmp_path / "twins.parquet").to_pylist()
    habits = {row["site_id"]: rng.normal(0, 5) for row in table}
    # A student of every account alike leans to what most of them were given.
    leaning: dict[str, float] = dict.fromkeys(habits, 0.0)
    for row in table:
        leaning[row["site_id"]] += 0.5 * (2 * row["released"] - 1)
    files = [
        _write(
            tmp_path / f"{name}.jsonl",
            [
                {
                    "site_id": site,
                    "logprob_0": -9.0,
                    "logprob_1": -9.0 + habit + share * leaning[site] + rng.normal(),
                }
                for site, habit in habits.items()
            ],
        )
        for name, share in (("student", 1.0), ("clean", 0.0), ("clean too", 0.0))
    ]
    words = ("twins", "verify", "--twins", tmp_path / "twins.parquet", "--suspect")
    found = json.loads(run(*words, files[0], "--everyone", "--clean", files[1], "--json", status=1))
    assert found["subject"] == "6 accounts"
    assert found["p_value"] < 1e-6
    both = ("--clean", files[1], "--clean", files[2], "--case", tmp_path / "case")
    better = json.loads(run(*words, files[0], "--everyone", *both, "--json", status=1))
    assert better["p_value"] < found["p_value"]
    assert [each["name"] for each in json.loads((tmp_path / "case").read_text())["inputs"]] == [
        file.name for file in files
    ]
    done = RUN.invoke(app, [*map(str, words), str(files[1])])
    assert done.exit_code == 0
    assert "no evidence of absence" in done.output
