"""`kdguard teacher`: what it refuses, and that what it serves answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.distill.models import save_model
from kdguard.service.accounts import read_accounts
from tests.distill.teachers.tiny import llama, tokenizer
from tests.service.serving import serving


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-teacher"
    save_model(llama(), tokenizer(), folder)
    return folder


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.0.2.1", "::", "teacher.example.com", "127.0.0.1.example.com"]
)
def test_other_machines_are_let_in_with_keys_only(model: Path, host: str) -> None:
    done = CliRunner().invoke(app, ["teacher", "serve", str(model), "--host", host])
    assert done.exit_code == 2
    assert "--keys" in done.output


def test_a_served_folder_answers(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(served: Any, *, host: str, port: int, log_level: str) -> None:
        assert (host, port) == ("0.0.0.0", 8123)
        with (
            serving(served) as url,
            openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0) as client,
        ):
            told = client.completions.create(model="tiny-teacher", prompt="The price", max_tokens=4)
            assert told.usage is not None
            assert told.usage.prompt_tokens > 0
            with pytest.raises(openai.AuthenticationError):
                client.with_options(api_key="other").models.list()

    monkeypatch.setattr(uvicorn, "run", run)
    keys = tmp_path / "keys.json"
    made = CliRunner().invoke(app, ["teacher", "key", str(keys), "acct-1", "--org", "org-1"])
    key = made.stdout.strip()
    assert [account.account_id for account in read_accounts(keys)] == ["acct-1"]
    done = CliRunner().invoke(
        app,
        [
            "teacher",
            "serve",
            str(model),
            "--host",
            "0.0.0.0",
            "--port",
            "8123",
            "--keys",
            str(keys),
            "--log",
            str(tmp_path / "log.jsonl"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "log.jsonl").read_text().count("acct-1") == 1
    assert (tmp_path / "log.parquet").exists()


def test_an_unsafe_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    done = CliRunner().invoke(app, ["teacher", "serve", str(tmp_path)])
    assert done.exit_code != 0
    assert done.exception is not None
    assert "pytorch_model.bin" in str(done.exception) or "config.json" in str(done.exception)
