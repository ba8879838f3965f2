"""`kdguard watermark` as a person or a script uses it."""

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
from kdguard.errors import InputError
from tests.detectors.watermark.golden import GOLDENS
from tests.detectors.watermark.radioactivity.bigrams import KEY, taught, write

GOLDEN = GOLDENS["key42-cw4"]


def _run(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["watermark", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def _key(folder: Path, key: int = 42, mode: int = 0o600) -> Path:
    path = folder / f"key-{key}"
    path.write_text(f"{key}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two subjects: vLLM's golden text, and one that bears no mark."""
    plain = np.random.default_rng(0).integers(0, 128, 64)
    path = tmp_path / "answers.parquet"
    told = pa.table({"who": ["marked", "plain"], "token_ids": [list(GOLDEN.tokens), plain.tolist()]})
    pyarrow.parquet.write_table(told, path)
    return path


def test_a_golden_is_detected_and_the_exit_status_says_so(table: Path, tmp_path: Path) -> None:
    status, lines = _run(
        "detect", table, "--scheme", "gumbel-philox", "--key-file", _key(tmp_path), "--by", "who", "--json"
    )
    assert status == 1
    marked, plain, summary = lines
    assert (marked["subject"], marked["decision"]) == ("marked", "detected")
    assert marked["log10_p"] == pytest.approx(np.log10(GOLDEN.p_value))
    assert marked["p_adjusted"] == pytest.approx(2 * GOLDEN.p_value, rel=1e-6)
    assert marked["guarantee"] == "descriptive"
    assert plain["decision"] == "not_detected"
    assert summary["summary"]["detected"] == 1
    assert "not who took it or why" in summary["summary"]["null_hypothesis"]


def test_the_wrong_key_finds_nothing_and_promises_nothing(table: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            "watermark",
            "detect",
            str(table),
            "--scheme",
            "gumbel-philox",
            "--key-file",
            str(_key(tmp_path, 43)),
        ],
    )
    assert result.exit_code == 0
    assert "no evidence of its absence" in result.stdout
    assert "clean" not in result.output
    assert "43" not in result.output.replace("0.43", "")


def test_jsonl_csv_and_parquet_are_one(table: Path, tmp_path: Path) -> None:
    jsonl = tmp_path / "answers.jsonl"
    rows = pyarrow.parquet.read_table(table).to_pylist()
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("--scheme", "gumbel-philox", "--key-file", _key(tmp_path), "--by", "who", "--json")
    assert _run("detect", table, *arguments) == _run("detect", jsonl, *arguments)


def test_prompts_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "copies.jsonl"
    path.write_text(json.dumps({"token_ids": GOLDEN.tokens, "prompt_ids": GOLDEN.tokens}) + "\n")
    status, (line, _) = _run(
        "detect", path, "--scheme", "gumbel-philox", "--key-file", _key(tmp_path), "--json"
    )
    assert (status, line["decision"]) == (0, "abstain")
    assert "does not come from the prompts" in line["reason"]


def test_a_committed_key_makes_the_evidence_randomised(tmp_path: Path) -> None:
    keys, ledger, mark = tmp_path / "keys", tmp_path / "ledger", tmp_path / "mark.json"
    mark.write_text(json.dumps({"scheme": "green-siphash", "width": 1, "gamma": 0.25}))
    text = tmp_path / "a.jsonl"
    text.write_text(json.dumps({"token_ids": list(range(200))}) + "\n")
    runner = CliRunner()
    assert runner.invoke(app, ["audit", "keys", "create", "--keys", str(keys)]).exit_code == 0
    asked = ["--keys", keys, "--epoch", "2026-11"]
    commit = ["audit", "commit", "--scheme", "watermark", "--ledger", ledger, "--parameters", mark, *asked]
    assert runner.invoke(app, list(map(str, commit))).exit_code == 0
    _, (line, _) = _run("detect", text, "--mark", mark, *asked, "--ledger", ledger, "--json")
    assert (line["committed"], line["guarantee"]) == (True, "randomised")
    _, (line, _) = _run("detect", text, "--mark", mark, *asked, "--json")
    assert (line["committed"], line["guarantee"]) == (False, "descriptive")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"scheme": "green-siphash", "width": 2, "gamma": 0.25}))
    with pytest.raises(InputError, match="other parameters"):
        _run("detect", text, "--mark", other, *asked, "--ledger", ledger)


def _tokenizer(folder: Path, words: list[str]) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: at for at, word in enumerate(words)}, words[0])
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_text_is_read_with_the_marks_own_tokenizer_only(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from kdguard.detectors.watermark.mark import tokenizer_digest
    from kdguard.detectors.watermark.reading import load_tokenizer

    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    words = [f"w{at}" for at in range(128)]
    _tokenizer(own, words)
    _tokenizer(other, words[::-1])
    mark = tmp_path / "mark.json"
    digest = tokenizer_digest(load_tokenizer(own))
    mark.write_text(json.dumps({"scheme": "gumbel-philox", "tokenizer_sha256": digest}))
    text = tmp_path / "a.txt"
    text.write_text(" ".join(words[token] for token in GOLDEN.tokens))
    asked = ("--mark", mark, "--key-file", _key(tmp_path), "--json")
    status, (line, _) = _run("detect", text, "--tokenizer", own, *asked)
    assert (status, line["scored"]) == (1, 64)
    with pytest.raises(InputError, match="with another tokenizer no mark can be found"):
        _run("detect", text, "--tokenizer", other, *asked)
    with pytest.raises(InputError, match="holds text"):
        _run("detect", text, *asked)


def test_ids_that_the_tokenizer_does_not_make_are_noticed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    words = [f"w{at}" for at in range(128)]
    _tokenizer(own, words)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"token_ids": [1, 2, 3], "response": "w4 w5 w6"}) + "\n")
    with pytest.raises(InputError, match="only 0% of the texts"):
        _run("detect", path, "--tokenizer", own, "--scheme", "gumbel-philox", "--key-file", _key(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--mark FILE, or --scheme"),
        (("--scheme", "greenish"), "known are"),
        (("--scheme", "gumbel-philox", "--parameter", "width=four"), "NAME=NUMBER"),
        (("--scheme", "gumbel-philox", "--parameter", "gamma=0.5"), "no parameter gamma"),
        (("--scheme", "gumbel-philox", "--column", "words"), "no column 'words'"),
        (("--scheme", "kgw-left", "--parameter", "vocab=100"), "another tokenizer"),
    ],
)
def test_wrong_input_says_what_to_do(
    arguments: tuple[str, ...], message: str, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        _run("detect", table, "--key-file", _key(tmp_path), *arguments)


def test_keys_are_asked_for_and_kept_private(table: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--key-file FILE, or --epoch"):
        _run("detect", table, "--scheme", "gumbel-philox")
    with pytest.raises(InputError, match="chmod 600"):
        _run("detect", table, "--scheme", "gumbel-philox", "--key-file", _key(tmp_path, mode=0o644))
    bad = _key(tmp_path, 7)
    bad.write_text("seven")
    with pytest.raises(InputError, match="whole numbers") as caught:
        _run("detect", table, "--scheme", "gumbel-philox", "--key-file", bad)
    assert "seven" not in str(caught.value)


def test_radioactivity_tells_suspects_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    mark, key = tmp_path / "mark.json", tmp_path / "key"
    mark.write_text(json.dumps({"scheme": "green-siphash", "width": 1, "gamma": 0.25}))
    key.write_text(" ".join(str(word) for word in KEY.words.tolist()))
    key.chmod(0o600)
    suspects, clean_text = tmp_path / "suspects.jsonl", tmp_path / "clean.jsonl"
    wrote = {"guilty": write(taught(0.2, rng), rng, 200), "innocent": write(taught(0.0, rng), rng, 200)}
    suspects.write_text(
        "".join(
            json.dumps({"who": who, "token_ids": text.tolist()}) + "\n"
            for who in wrote
            for text in wrote[who]
        )
    )
    clean_text.write_text(
        "".join(json.dumps({"token_ids": text.tolist()}) + "\n" for text in write(taught(0.0, rng), rng, 600))
    )
    asked = (
        suspects,
        "--clean",
        clean_text,
        "--mark",
        mark,
        "--key-file",
        key,
        "--by",
        "who",
        "--decoys",
        199,
    )
    status, (guilty, innocent, summary) = _run("radioactivity", *asked, "--json")
    assert (status, guilty["decision"], innocent["decision"]) == (1, "detected", "not_detected")
    assert guilty["log10_p"] <= guilty["log10_p_bound"] < -6
    assert "not who took it or why" in summary["summary"]["null_hypothesis"]
    spoken = CliRunner().invoke(app, ["watermark", "radioactivity", *map(str, asked)])
    assert "guilty: mark detected" in spoken.stdout
    assert "no evidence of its absence" in spoken.stdout
    assert "clean" not in spoken.stdout
