"""Watermark verdicts in bundles: the same numbers again elsewhere, early stopping, old keys after a rotation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.detectors.registered import find
from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.radioactivity.sequential import Wealth
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.windows import Texts
from kdguard.errors import WatermarkError
from kdguard.ledger.derivation import KeyName
from tests.audit.made_case import fixed_keys
from tests.command import run
from tests.detectors.watermark.made_texts import marked_texts

SCHEME = GreenSiphash(1, 0.25)
NAME = KeyName("watermark", "", "2026-11")


@pytest.fixture
def marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys, a committed mark, and answers that bear it."""
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path / "keys"))
    keys = fixed_keys(tmp_path / "keys").current
    (tmp_path / "mark.json").write_text(json.dumps(SCHEME.record()))
    words = ("audit", "commit", "--scheme", "watermark", "--epoch", NAME.epoch)
    run(*words, "--parameters", tmp_path / "mark.json", "--ledger", tmp_path / "ledger")
    texts = marked_texts(SCHEME, keys.derive(NAME).key.reveal(), np.random.default_rng(3), 60, 40)
    plain = np.random.default_rng(4).integers(0, 500, (60, 40)).tolist()
    who = ["suspect"] * 60 + ["other"] * 60
    pyarrow.parquet.write_table(
        pa.table({"who": who, "token_ids": texts + plain}), tmp_path / "answers.parquet"
    )
    pyarrow.parquet.write_table(pa.table({"token_ids": texts}), tmp_path / "suspect.parquet")
    pyarrow.parquet.write_table(
        pa.table({"token_ids": np.random.default_rng(5).integers(0, 500, (600, 40)).tolist()}),
        tmp_path / "clean.parquet",
    )
    return tmp_path


def _named(folder: Path) -> tuple[object, ...]:
    return ("--mark", folder / "mark.json", "--epoch", NAME.epoch, "--ledger", folder / "ledger")


def _bundled(folder: Path, *inputs: Path) -> dict[str, Any]:
    run("audit", "sign", folder / "case.json", "--ledger", folder / "ledger", "--out", folder / "bundle")
    shown = [word for path in inputs for word in ("--input", path)]
    told: dict[str, Any] = json.loads(run("audit", "verify", folder / "bundle", *shown, "--json"))
    return told


def test_a_detection_travels_and_is_made_again(marked: Path) -> None:
    words = ("watermark", "detect", marked / "answers.parquet", *_named(marked), "--by", "who")
    lines = run(*words, "--case", marked / "case.json", "--json", status=1).splitlines()
    found = {line["subject"]: line for line in map(json.loads, lines[:-1])}
    assert (found["suspect"]["decision"], found["other"]["decision"]) == ("detected", "not_detected")
    told = _bundled(marked, marked / "answers.parquet")
    (result,) = told["result"]
    assert result["subject"] == "suspect"
    assert result["p_value"] == pytest.approx(found["suspect"]["p_adjusted"], rel=1e-9)
    assert result["guarantee"] == "randomised"
    assert "other" not in (marked / "case.json").read_text()


def test_a_contrast_travels_and_is_made_again(marked: Path) -> None:
    words = ("watermark", "radioactivity", marked / "suspect.parquet", "--clean", marked / "clean.parquet")
    given = (*_named(marked), "--decoys", "199", "--gate-bits", "0", "--alpha", "1e-4")
    lines = run(*words, *given, "--case", marked / "case.json", "--json", status=1).splitlines()
    told = _bundled(marked, marked / "suspect.parquet", marked / "clean.parquet")
    assert told["result"][0]["p_value"] == pytest.approx(json.loads(lines[0])["p_adjusted"], rel=1e-9)


def test_betting_stops_early_and_travels(marked: Path) -> None:
    words = ("watermark", "follow", marked / "suspect.parquet", *_named(marked), "--batch", "1")
    lines = run(*words, "--case", marked / "case.json", "--json", status=1).splitlines()
    *bets, summary = map(json.loads, lines)
    assert bets[-1]["answers"] < 60
    assert bets[-1]["log10_e"] >= 6 > bets[-2]["log10_e"]
    assert summary["summary"]["decision"] == "detected"
    told = _bundled(marked, marked / "suspect.parquet")
    assert told["result"][0]["log10_e"] == pytest.approx(summary["summary"]["log10_e"], rel=1e-9)
    assert told["result"][0]["p_value"] <= 1e-6


def test_unmarked_answers_are_not_called_clean(marked: Path) -> None:
    told = run(
        "watermark", "follow", marked / "clean.parquet", *_named(marked), "--case", marked / "case.json"
    )
    assert "no evidence of its absence" in told
    assert not (marked / "case.json").exists()


def test_marks_of_an_old_key_are_found_after_a_rotation(marked: Path) -> None:
    run("audit", "keys", "rotate", "--ledger", marked / "ledger")
    words = (
        "watermark",
        "detect",
        marked / "suspect.parquet",
        *_named(marked),
        "--case",
        marked / "case.json",
    )
    run(*words, status=1)
    assert _bundled(marked)["result"][0]["p_value"] < 1e-6


def test_a_case_needs_a_committed_key(marked: Path) -> None:
    key = marked / "key"
    key.write_text("1 2")
    key.chmod(0o600)
    words = ("watermark", "detect", marked / "suspect.parquet", "--mark", marked / "mark.json", "--alpha", 1)
    done = CliRunner().invoke(
        app, [*map(str, words), "--key-file", str(key), "--case", str(marked / "c.json")]
    )
    assert isinstance(done.exception, WatermarkError)
    assert "--case needs a key that was committed" in str(done.exception)


def test_what_is_counted_twice_is_refused() -> None:
    told = {"tokens": 9, "windows": [[1, 2], [1, 2]]}
    statistics = {"subjects": {"s": told}, "searched": 1, "decoys": 199}
    with pytest.raises(WatermarkError, match="counted once"):
        find("watermark.text").run(statistics, SCHEME.record(), {NAME: bytes(32)})
    batches = {"subject": "s", "batches": [[[1, 2]], [[1, 2]]]}
    with pytest.raises(WatermarkError, match="must not be scored again"):
        find("watermark.wealth").run(batches, SCHEME.record(), {NAME: bytes(32)})


def test_wealth_over_one_fifth_comes_up_for_at_most_a_fifth_of_keys() -> None:
    """False-fail rate below 1e-4: 400 keys, each with chance at most .2 to have reached 5 on the way."""
    rng = np.random.default_rng(0)
    texts = Texts.of(list(rng.integers(0, 500, (20, 40))))
    proven = 0
    for number in range(400):
        state = Wealth(SCHEME, derived_key(number.to_bytes(16, "big"), SCHEME.key_words))
        for begin in range(0, 20, 5):
            ends = texts.starts[begin : begin + 6]
            state = state.after(Texts(texts.token_ids[ends[0] : ends[-1]], ends - ends[0]))
        proven += state.proven(0.2)
    assert proven <= 400 * 0.2 + 4 * (400 * 0.2 * 0.8) ** 0.5
