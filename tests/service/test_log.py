"""What was served stands in the log, whatever became of the connection, and can be scored."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

import kdguard
from kdguard.errors import TeacherError
from kdguard.service.accounts import add_account
from kdguard.service.exchange_log import ExchangeLog
from kdguard.service.teacher import TeacherSettings, create_teacher_app
from tests.service.asking import TOOLS, ask, client, until
from tests.service.conftest import tiny_teacher
from tests.service.serving import serving

NO_END = {"0": -100.0}  # the tiny model never ends a text by itself then


def rows_of(log: Path) -> list[dict[str, Any]]:
    return [row for batch in kdguard.read(str(log)) for row in batch.to_pylist()]


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_what_was_served_can_be_scored(tmp_path: Path) -> None:
    keys, log = tmp_path / "keys.json", tmp_path / "log.jsonl"
    one = add_account(keys, "acct-1", org_id="org-1")
    two = add_account(keys, "acct-2", requests_per_minute=2)
    settings = TeacherSettings(keys=keys, log=log, trusts_forwarded=True)
    with (
        serving(create_teacher_app(tiny_teacher(), settings)) as url,
        client(url, one) as asker,
        client(url, two) as other,
    ):
        first = ask(asker, "first", n=2, temperature=0.5, seed=3, logprobs=True, top_logprobs=3, tools=TOOLS)
        with ask(asker, "second", stream=True, logit_bias={"5": 1.5}) as stream:
            list(stream)
        asker.completions.create(model="tiny", prompt=["third", "fourth"], max_tokens=3)
        with pytest.raises(openai.BadRequestError):
            ask(asker, "x" * 3000)
        with pytest.raises(openai.BadRequestError):
            ask(asker, n=-1)
        for _ in range(2):
            ask(other, extra_headers={"X-Forwarded-For": "198.51.100.7, 10.0.0.1", "User-Agent": "probe/1"})
        with pytest.raises(openai.RateLimitError):
            ask(other)
    rows = rows_of(log)
    rows[3:5] = sorted(rows[3:5], key=lambda row: row["request_id"])  # two prompts end in any order
    assert [(row["account_id"], row["prompt"], row["choice"], row["status"]) for row in rows] == [
        ("acct-1", "first", 0, 200),
        ("acct-1", "first", 1, 200),
        ("acct-1", "second", 0, 200),
        ("acct-1", "third", 0, 200),
        ("acct-1", "fourth", 0, 200),
        ("acct-1", "x" * 3000, 0, 400),
        ("acct-1", None, 0, 400),
        ("acct-2", "The price?", 0, 200),
        ("acct-2", "The price?", 0, 200),
        ("acct-2", None, 0, 429),
    ]
    assert [row["response"] for row in rows[:2]] == [choice.message.content for choice in first.choices]
    asked = {"logprobs": True, "top_logprobs": 3, "n": 2, "seed": 3, "temperature": 0.5, "max_tokens": 5}
    assert {name: rows[0][name] for name in asked} == asked
    assert rows[0]["request_id"] == first.id
    assert rows[0]["org_id"] == "org-1"
    assert json.loads(rows[0]["tools"]) == TOOLS
    assert rows[0]["messages"] == [{"role": "user", "content": "first"}]
    assert json.loads(rows[2]["logit_bias"]) == {"5": 1.5}
    assert rows[3]["endpoint"] == "completions"
    assert {row["endpoint"] for row in rows[5:]} == {"chat.completions"}
    assert (rows[8]["client_ip"], rows[8]["user_agent"]) == ("198.51.100.7", "probe/1")
    assert all(row["time"] is not None and row["latency_ms"] > 0 for row in rows)
    assert [row["content_missing"] for row in rows[-4:]] == [True, False, False, True]
    assert sum(row["output_tokens"] for row in rows[:2]) == first.usage.completion_tokens
    text = log.read_text()
    assert one not in text
    assert two not in text
    assert log.stat().st_mode & 0o077 == 0


def test_addresses_are_not_taken_from_headers_unless_trusted(tmp_path: Path) -> None:
    app = create_teacher_app(tiny_teacher(), TeacherSettings(log=tmp_path / "log.jsonl"))
    with serving(app) as url, client(url) as asker:
        ask(asker, extra_headers={"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.7"})
    assert [row["client_ip"] for row in lines_of(tmp_path / "log.jsonl")] == ["127.0.0.1"]


def test_the_log_goes_on_after_a_restart_and_a_torn_line(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for key in ("k1", "k2"):
        with (
            serving(create_teacher_app(tiny_teacher(), TeacherSettings(log=log))) as url,
            client(url, key) as asker,
        ):
            ask(asker, metadata={"session_id": "s-1"})
        with log.open("a") as file:
            file.write('{"request_id": "torn by a ki')
    assert [row["session_id"] for row in rows_of(log)] == ["s-1", "s-1"]
    assert len({row["account_id"] for row in rows_of(log)}) == 2, "every key is an account of its own"


def test_a_stream_that_is_cut_off_is_logged_as_far_as_it_came(tmp_path: Path) -> None:
    """Leaving before the last word must not hide an exchange from those who look for extraction."""
    teacher, log = tiny_teacher(), tmp_path / "log.jsonl"
    with serving(create_teacher_app(teacher, TeacherSettings(log=log))) as url, client(url) as asker:
        stream = ask(asker, "long", stream=True, n=2, max_tokens=200, logit_bias=NO_END)
        seen = dict.fromkeys(range(2), "")
        for part in stream:
            for choice in part.choices:
                seen[choice.index] += choice.delta.content or ""
            if all(len(text) > 30 for text in seen.values()):
                break
        stream.close()
        assert until(lambda: not teacher.busy), "its rows are free"
        assert until(lambda: log.read_text().count("\n") == 2)
        rows = rows_of(log)
    for row in rows:
        assert row["prompt"] == "long"
        assert row["status"] == 200
        assert row["finish_reason"] is None
        assert row["response"].startswith(seen[row["choice"]].rstrip("\ufffd"))
        assert 0 < row["output_tokens"] < 200


def test_a_client_that_leaves_frees_its_rows_and_is_logged(tmp_path: Path) -> None:
    teacher, log = tiny_teacher(), tmp_path / "log.jsonl"
    with serving(create_teacher_app(teacher, TeacherSettings(log=log))) as url:
        place = urlsplit(url)
        body = json.dumps(
            {
                "model": "tiny",
                "messages": [{"role": "user", "content": "long"}],
                "max_tokens": 200,
                "n": 100,
                "logit_bias": NO_END,
            }
        )
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
        with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            assert until(lambda: teacher.engine.unfinished > 50)
        assert until(lambda: not teacher.busy, 5), "it would take longer than that to end by itself"
        assert until(lambda: log.read_text().count("\n") >= 1)
        with client(url) as asker:
            assert ask(asker).choices
    first, *_ = lines_of(log)
    assert first["prompt"] == "long"
    assert (first["status"], "response" in first) == (499, False), "it was told nothing"


def test_a_full_disk_is_an_error_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    app = create_teacher_app(tiny_teacher(), TeacherSettings(log=log))
    with serving(app) as url, client(url) as asker:
        ask(asker)
        exchange_log: ExchangeLog = app.state.teacher.log
        file, room = exchange_log._file, 30

        class Full:
            def write(self, data: bytes) -> int:
                nonlocal room
                if not room:
                    raise OSError(28, "No space left on device")
                written, room = file.write(data[:room]), 0
                return written

            def fileno(self) -> int:
                return file.fileno()

        monkeypatch.setattr(exchange_log, "_file", Full())
        with pytest.raises(openai.InternalServerError, match="TeacherError"):
            ask(asker, "a secret prompt")
        monkeypatch.setattr(exchange_log, "_file", file)
        ask(asker)
    assert [line["prompt"] for line in lines_of(log)] == ["The price?"] * 2
    errors = capfd.readouterr().err
    assert "No space left on device" in errors
    assert "secret" not in errors


def test_a_log_that_cannot_be_written_is_told_before_anybody_is_served(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="cannot be written"):
        create_teacher_app(tiny_teacher(), TeacherSettings(log=tmp_path / "no" / "log.jsonl"))


def test_health_needs_no_key_and_is_not_logged(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    settings = TeacherSettings(log=log, requests_per_minute=1)
    with serving(create_teacher_app(tiny_teacher(), settings)) as url, httpx.Client(base_url=url) as raw:
        assert [raw.get("/healthz").status_code for _ in range(3)] == [200] * 3
    assert log.read_text() == ""
