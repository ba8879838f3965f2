"""The distill commands: what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from kdguard import cli
from kdguard.distill.transcripts.reader import read_transcripts

LOGS = Path(__file__).resolve().parents[2] / "fixtures" / "logs"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["kdguard", "distill", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def stored(path: Path) -> Path:
    entry = {"token": "Oslo", "logprob": -0.5, "bytes": [79, 115, 108, 111]}
    record = {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1_711_652_800,
        "model": "gpt-4o",
        "metadata": {"job": "kd"},
        "messages": [{"role": "user", "content": "Capital of Norway?"}],
        "choices": [
            {
                "index": 0,
                "message": {"content": "Oslo"},
                "logprobs": {"content": [entry | {"top_logprobs": [entry] * 2}] * 30},
            }
        ],
    }
    path.write_bytes(orjson.dumps(record) + b"\n{broken\n")
    return path


def test_import_then_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, out = stored(tmp_path / "log.jsonl"), tmp_path / "out"
    assert (
        run(monkeypatch, "import", log, "--format", "openai-stored", "--metadata", "job=kd", "--out", out)
        == 0
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert "1 pairs, 1 of them with tokens, of 1 requests written to" in said.err
    assert "1 lines could not be read" in said.err
    assert read_transcripts(out).tokens.positions == 30
    assert run(monkeypatch, "sizes", out) == 0
    told = capsys.readouterr().out
    assert "1 requests, 1 exchanges, 30 tokens (30 top bytes)" in told
    assert "bytes a token, 2 alternatives each" in told
    assert run(monkeypatch, "sizes", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"] == {"top_bytes": 30}
    assert found["bytes_per_token"] == round(found["tokens_bytes"] / 30, 3)


def test_prompts_alone_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "import",
        LOGS / "bedrock.json",
        "--mode",
        "prompt-only",
        "--limit",
        2,
        "--out",
        tmp_path,
        "--json",
    )
    assert run(monkeypatch, *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["with_tokens"]) == (2, 0)
    assert told["dropped"] == {"over_limit": 1, "no_prompt": 1}
    assert run(monkeypatch, "sizes", tmp_path) == 0
    assert "0 tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import", LOGS / "bedrock.json", "--metadata", "tenant"), "must be KEY=VALUE"),
        (("import", LOGS / "bedrock.json", "--metadata", "a=1", "--metadata", "a=2"), "each key once"),
        (("import", LOGS / "bedrock.json", "--metadata", "tenant=none"), "every record was left out"),
        (("import", LOGS / "jsonl.jsonl", "--metadata", "a=b"), "--metadata works with the formats"),
        (("import", LOGS / "bedrock.json", "--mode", "both"), "'both' is not one of"),
        (("import", LOGS / "no-such-file"), "no such file"),
    ],
)
def test_wrong_usage_ends_with_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    said: str,
) -> None:
    assert run(monkeypatch, *words, "--out", tmp_path / "out") == 2
    told = " ".join(capsys.readouterr().err.replace("\u2502", " ").split())
    assert said in told


def test_sizes_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "sizes", tmp_path) == 2
    assert "once the transcripts are sealed" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from kdguard.cli import app; print({'torch', 'transformers', 'fastapi'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
