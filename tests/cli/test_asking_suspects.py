"""`ask` of canaries, twins and watermarks, and `twins draw`, on a model folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from kdguard.cli import app
from kdguard.distill.models import save_model
from kdguard.errors import InputError
from tests.audit.made_case import fixed_keys
from tests.command import run
from tests.distill.teachers.tiny import llama, tokenizer

RUN = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path / "keys"))
    fixed_keys(tmp_path / "keys")
    save_model(llama(context=512), tokenizer(chat=True), tmp_path / "model")
    (tmp_path / "accounts.csv").write_text("account_id,requests\nacme,500\nfair,500\n")
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Question {number % 5}?"}) + "\n" for number in range(8))
    )
    return tmp_path


def test_canaries_are_asked_and_an_innocent_model_is_not_accused(folder: Path) -> None:
    canaries, out = folder / "canaries.parquet", folder / "out.jsonl"
    words = ("canary", "plan", "--accounts", folder / "accounts.csv", "--epoch", "2026-12", "--share", "0.05")
    more = ("--repetitions", 10, "--family", "fact", "--family", "number")
    run(*words, *more, "--ledger", folder / "ledger", "--out", canaries)
    asked = ("canary", "ask", "--canaries", canaries, "--suspect", folder / "model", "--out", out)
    run(*asked, "--likelihood")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 2 * (199 + 2)
    assert all(row["logprob"] < 0 for row in rows)
    verify = ("canary", "verify", "--canaries", canaries, "--answers", out)
    run(*verify)
    told = json.loads(run(*verify, "--account", "acme", "--alpha", 0, "--case", folder / "case", "--json"))
    assert told["detector"] == "canary.likelihood"
    assert 0 < told["p_value"] <= 1
    run("audit", "sign", folder / "case", "--ledger", folder / "ledger", "--out", folder / "bundle")
    again = json.loads(run("audit", "verify", folder / "bundle", "--input", out, "--json"))
    assert again["result"] == [told]
    run(*asked, "--times", 2, "--max-tokens", 8)
    assert len(out.read_text().splitlines()) == 2 * 2
    run(*verify)


def test_twins_are_drawn_planned_and_asked(folder: Path) -> None:
    names = ("candidates.jsonl", "twins.parquet", "preferences.jsonl")
    candidates, twins, out = (folder / name for name in names)
    words = ("twins", "draw", "--prompts", folder / "log.jsonl", "--accounts", folder / "accounts.csv")
    run(*words, "--teacher", folder / "model", "--max-tokens", 8, "--out", candidates)
    rows = [json.loads(line) for line in candidates.read_text().splitlines()]
    assert len(rows) == 5 * 2
    assert all(row["answer_0"] < row["answer_1"] for row in rows)
    planned = ("twins", "plan", "--candidates", candidates, "--epoch", "2026-12")
    run(*planned, "--ledger", folder / "ledger", "--out", twins)
    run("twins", "ask", "--twins", twins, "--suspect", folder / "model", "--out", out)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(told) == 5
    assert all({"site_id", "logprob_0", "logprob_1"} == row.keys() for row in told)
    run("twins", "verify", "--twins", twins, "--suspect", out)


def test_watermark_ask_leaves_prompts_out_unless_wanted(folder: Path) -> None:
    out = folder / "said.jsonl"
    words = ("watermark", "ask", folder / "log.jsonl", "--suspect", folder / "model", "--max-tokens", 8)
    run(*words, "--out", out, "--most", 3, "--times", 2)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [set(row) for row in rows] == [{"response"}] * 6
    run(*words, "--out", out, "--with-prompts")
    assert all(json.loads(line)["prompt"].startswith("Question") for line in out.read_text().splitlines())


def test_an_endpoint_needs_a_model_name_and_gives_no_likelihoods(folder: Path) -> None:
    words = ["watermark", "ask", str(folder / "log.jsonl"), "--suspect", "http://127.0.0.1:1/v1"]
    done = RUN.invoke(app, [*words, "--out", str(folder / "x")])
    assert isinstance(done.exception, InputError)
    assert "an endpoint needs --model" in str(done.exception)


def test_a_teacher_writes_the_mark_that_was_committed(folder: Path) -> None:
    from kdguard.cli.teacher_marks import MarkOptions, marked_teacher
    from kdguard.detectors.interview import answers

    mark = folder / "mark.json"
    mark.write_text('{"scheme": "green-siphash", "width": 1, "gamma": 0.25}')
    committed = ("audit", "commit", "--scheme", "watermark", "--epoch", "2026-12", "--parameters", mark)
    run(*committed, "--ledger", folder / "ledger")
    run("audit", "keys", "rotate", "--ledger", folder / "ledger")
    options = MarkOptions(mark, 8.0, "2026-12", None, None, None, folder / "ledger")
    teacher = marked_teacher(folder / "model", options, rows=16)
    said = answers(teacher, [(f"{n}", f"Question {n}?") for n in range(16)], max_tokens=60)
    rows = [{"token_ids": tokenizer(chat=True)(one.response)["input_ids"]} for one in said]
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = ("--mark", mark, "--epoch", "2026-12", "--ledger", folder / "ledger")
    run("watermark", "detect", texts, *named, status=1)
    (folder / "other.json").write_text('{"scheme": "green-siphash", "width": 2, "gamma": 0.25}')
    with pytest.raises(InputError, match="other parameters"):
        marked_teacher(folder / "model", options._replace(mark=folder / "other.json"))
