"""`kdguard teacher`: what it refuses, and that what it serves answers until it is told to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.cli.teacher_marks import MarkOptions, marked_teacher
from kdguard.distill.models import save_model
from kdguard.distill.teachers.protocol import Ask
from kdguard.errors import InputError
from kdguard.service.accounts import add_account, read_accounts
from tests.audit.made_case import fixed_keys
from tests.distill.teachers.tiny import llama, tokenizer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-teacher"
    save_model(llama(context=2048), tokenizer(), folder)
    return folder


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the address it tells."""
    command = [sys.executable, "-m", "kdguard", "teacher", "serve", "--port", "0", *arguments]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=surroundings, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            told = re.search(r"http://\S+", process.stderr.readline())
            assert told is not None
            yield process, told[0]
        finally:
            process.kill()


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.0.2.1", "::", "teacher.example.com", "127.0.0.1.example.com", ""]
)
def test_other_machines_are_let_in_with_keys_only(model: Path, host: str) -> None:
    done = CliRunner().invoke(app, ["teacher", "serve", str(model), "--host", host])
    assert done.exit_code == 2
    assert "--keys" in done.output


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_a_served_folder_answers_until_it_is_told_to_stop(model: Path, tmp_path: Path) -> None:
    keys, log, stored = tmp_path / "keys.json", tmp_path / "log.jsonl", tmp_path / "stored.jsonl"
    made = CliRunner().invoke(app, ["teacher", "key", str(keys), "acct-1", "--org", "org-1"])
    key = made.stdout.strip()
    assert [account.account_id for account in read_accounts(keys)] == ["acct-1"]
    options = ["--host", "0.0.0.0", "--keys", str(keys), "--log", str(log), "--stored", str(stored)]
    with running(str(model), *options) as (process, url):
        local = url.replace("0.0.0.0", "127.0.0.1")
        with openai.OpenAI(api_key=key, base_url=local, max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                client.with_options(api_key="other").models.list()
            stream = client.completions.create(
                model="tiny-teacher", prompt="The price", max_tokens=400, stream=True, logit_bias={"0": -100}
            )
            parts = iter(stream)
            text = next(parts).choices[0].text
            process.send_signal(signal.SIGTERM)
            rest = [choice for part in parts for choice in part.choices]
            with pytest.raises(openai.APIConnectionError):
                client.models.list()
        assert process.wait(20) == -signal.SIGTERM
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert rest[-1].finish_reason == "length", "what was under way came to its end"
    [line] = [json.loads(line) for line in log.read_text().splitlines()]
    assert line["response"] == text + "".join(choice.text for choice in rest)
    assert line["account_id"] == "acct-1"
    seen = CliRunner().invoke(app, ["inspect", str(log), "--json"])
    assert seen.exit_code == 0, seen.output
    assert '"jsonl"' in seen.output


def test_an_unsafe_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    done = CliRunner().invoke(app, ["teacher", "serve", str(tmp_path), "--port", "0"])
    assert done.exit_code != 0
    assert done.exception is not None
    assert "pytorch_model.bin" in str(done.exception) or "config.json" in str(done.exception)


def test_an_address_that_is_taken_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(app, ["teacher", "serve", str(tmp_path), "--port", port])
    assert done.exit_code != 0
    assert f"port {port}: cannot be listened on" in str(done.exception)


def test_a_mark_for_several_accounts_is_written_with_the_key_of_each(model: Path, tmp_path: Path) -> None:
    customers, others = tmp_path / "customers.json", tmp_path / "others.json"
    mark, keys = tmp_path / "mark.json", tmp_path / "keys"
    fixed_keys(keys)
    mark.write_text(json.dumps({"scheme": "green-siphash", "width": 1, "gamma": 0.25, "accounts": 2}))
    ledger = tmp_path / "ledger"
    for who in ("acme", "bolt"):
        add_account(customers, who)
    add_account(others, "corp")

    def told(account: str | None, known: Path | None = customers) -> str:
        options = MarkOptions(mark, 4.0, "2026-12", None, None, keys, ledger, known)
        asked = Ask(request_id="r-1", prompt="The price", max_tokens=60, account_id=account)
        (answer,) = marked_teacher(model, options, rows=1).answer([asked])
        return str(answer.response)

    commit = ["--scheme", "watermark", "--epoch", "2026-12", "--parameters", str(mark), "--keys", str(keys)]
    named = ["--account", "acme", "--account", "bolt", "--ledger", str(ledger)]
    assert CliRunner().invoke(app, ["audit", "commit", *commit, *named]).exit_code == 0
    with pytest.raises(InputError, match="must be committed before it is used"):
        told("corp", others)
    with pytest.raises(InputError, match="needs --keys"):
        told("acme", None)
    assert len({told("acme"), told("bolt"), told("nobody")}) == 3
    assert told(None) == told("nobody")
