"""Keys, limits, stored completions and the log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
import pyarrow.parquet as pq
import pytest

import kdguard
from kdguard.distill.teachers.classifier import ClassifierTeacher
from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.distill.teachers.reply import parse_reply
from kdguard.errors import TeacherError
from kdguard.exchanges.schema import EXCHANGES
from kdguard.service.accounts import add_account, hash_of, read_accounts
from kdguard.service.rate_limit import RateLimit
from kdguard.service.streaming import Speaker
from kdguard.service.teacher import TeacherSettings, create_teacher_app
from tests.service.conftest import tiny_teacher
from tests.service.serving import serving


def client(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, timeout=60)


def ask(asker: openai.OpenAI, text: str = "The price?", **changed: Any) -> Any:
    asked: dict[str, Any] = {
        "model": "tiny",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": text}],
    }
    return asker.chat.completions.create(**(asked | changed))


def test_keys_are_kept_as_hashes_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = [add_account(path, name, org_id="org-1") for name in ("a", "b", "a")]
    text = path.read_text()
    assert len(set(keys)) == 3
    assert not any(key in text for key in keys)
    assert [(one.account_id, one.key_hash) for one in read_accounts(path)] == [
        (name, hash_of(key)) for name, key in zip("aba", keys, strict=True)
    ]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 2, "accounts": []}',
        '{"schema_version": 1, "accounts": [{"account_id": "a"}]}',
        '{"schema_version": 1, "accounts": [{"account_id": "a", "key_hash": "xyz"}]}',
        '{"schema_version": 1, "accounts": [{"account_id": "a", "key_hash": "'
        + "0" * 64
        + '", "key": "k"}]}',
        '{"schema_version": 1, "accounts": [{"account_id": "a", "key_hash": "'
        + "0" * 64
        + '", "requests_per_minute": 0}]}',
    ],
)
def test_damaged_keys_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(TeacherError, match=r"keys\.json"):
        read_accounts(path)
    with pytest.raises(TeacherError):
        create_teacher_app(ClassifierTeacher(len, ["a", "b"], name="x"), TeacherSettings(keys=path))


def test_buckets_refill_evenly() -> None:
    now = 0.0
    rate = RateLimit(clock=lambda: now)
    first = [rate.take("a", 60).allowed for _ in range(61)]
    assert first == [True] * 60 + [False]
    refused = rate.take("a", 60)
    assert 0.9 < refused.wait_s <= 1.0
    assert refused.headers()["retry-after"] == "1"
    assert rate.take("b", 60).allowed
    now = 1.0
    assert rate.take("a", 60).allowed
    assert not rate.take("a", 60).allowed
    now = 1e9
    assert sum(rate.take("a", 60).allowed for _ in range(100)) == 60


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str, str, Path]]:
    keys = tmp_path / "keys.json"
    one = add_account(keys, "acct-1", org_id="org-1")
    two = add_account(keys, "acct-2", requests_per_minute=2)
    settings = TeacherSettings(
        keys=keys, log=tmp_path / "log", stored=tmp_path / "stored.jsonl", trusts_forwarded=True
    )
    with serving(create_teacher_app(tiny_teacher(), settings)) as url:
        yield url, one, two, tmp_path


def test_unknown_keys_and_too_many_requests(served: tuple[str, str, str, Path]) -> None:
    url, _, two, _ = served
    for key in ("nope", two[:-1]):
        with client(url, key) as stranger, pytest.raises(openai.AuthenticationError) as refused:
            ask(stranger)
        assert refused.value.code == "invalid_api_key"
        assert key not in str(refused.value)
    with httpx.Client(base_url=url) as raw:
        assert raw.get("/v1/models").status_code == 401
    with client(url, two) as asker:
        ask(asker)
        ask(asker)
        with pytest.raises(openai.RateLimitError) as limited:
            ask(asker)
    assert limited.value.code == "rate_limit_exceeded"
    assert 1 <= int(limited.value.response.headers["retry-after"]) <= 30
    assert limited.value.response.headers["x-ratelimit-limit-requests"] == "2"


def test_stored_completions_are_listed_to_their_owner(served: tuple[str, str, str, Path]) -> None:
    url, one, two, folder = served
    with client(url, one) as asker, client(url, two) as other:
        kept = [
            ask(asker, f"prompt {at}", store=True, metadata={"run": str(at % 2), "at": str(at)})
            for at in range(7)
        ]
        with ask(asker, "streamed", store=True, stream=True, metadata={"run": "s"}) as stream:
            [streamed] = {part.id for part in stream}
        ask(asker, "not kept")
        ids = [completion.id for completion in kept] + [streamed]
        deadline = time.monotonic() + 10
        while len(asker.chat.completions.list(limit=100).data) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)  # a stream is kept after its last byte
        api = asker.chat.completions
        assert [found.id for found in api.list(limit=3)] == ids, "the client pages by itself"
        assert [found.id for found in api.list(order="desc", limit=100)] == ids[::-1]
        assert [found.id for found in api.list(metadata={"run": "1"}, model="tiny")] == ids[1:7:2]
        assert [found.id for found in api.list(metadata={"run": "1", "at": "3"})] == [ids[3]]
        assert api.list(model="other").data == []
        assert api.list(after=ids[5], limit=100).data[0].id == ids[6]
        assert other.chat.completions.list().data == []
        assert api.retrieve(ids[0]).choices[0].message.content == kept[0].choices[0].message.content
        assert [turn.content for turn in api.messages.list(ids[2])] == ["prompt 2"]
        renamed: Any = api.update(ids[0], metadata={"run": "new"})
        assert renamed.metadata == {"run": "new"}
        assert api.delete(ids[1]).deleted
        for call in (lambda: api.retrieve(ids[1]), lambda: api.delete("no"), lambda: api.list(after="no")):
            with pytest.raises(openai.NotFoundError):
                call()
        with pytest.raises(openai.NotFoundError):
            other.chat.completions.retrieve(ids[0])
    settings = TeacherSettings(keys=folder / "keys.json", stored=folder / "stored.jsonl")
    with serving(create_teacher_app(tiny_teacher(), settings)) as again, client(again, one) as asker:
        found = asker.chat.completions.list(limit=100).data
        assert [completion.id for completion in found] == [ids[0], *ids[2:]]
    read = kdguard.read(str(folder / "stored.jsonl"))
    rows = [row for batch in read for row in batch.to_pylist()]
    assert [row["prompt"] for row in rows] == [
        "prompt 0",
        *(f"prompt {at}" for at in range(2, 7)),
        "streamed",
    ]


def test_what_was_served_can_be_scored(served: tuple[str, str, str, Path]) -> None:
    url, one, two, folder = served
    with client(url, one) as asker, client(url, two) as other:
        ask(asker, "first", n=2, temperature=0.5, logprobs=True, top_logprobs=3)
        with ask(asker, "second", stream=True) as stream:
            list(stream)
        asker.completions.create(model="tiny", prompt="third", max_tokens=3)
        with pytest.raises(openai.BadRequestError):
            ask(asker, "x" * 3000)
        with pytest.raises(openai.BadRequestError):
            ask(asker, n=-1)
        for _ in range(2):
            ask(other, extra_headers={"X-Forwarded-For": "198.51.100.7, 10.0.0.1", "User-Agent": "probe/1"})
        with pytest.raises(openai.RateLimitError):
            ask(other)
    deadline = time.monotonic() + 10
    while (folder / "log.jsonl").read_text().count("\n") < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    rows = [row for batch in kdguard.read(str(folder / "log.jsonl")) for row in batch.to_pylist()]
    seen = [(row["account_id"], row["prompt"], row["choice"], row["status"]) for row in rows]
    assert sorted(seen[:4], key=str) == sorted(
        [
            ("acct-1", "first", 0, 200),
            ("acct-1", "first", 1, 200),
            ("acct-1", "second", 0, 200),
            ("acct-1", "third", 0, 200),
        ],
        key=str,
    )
    assert [row["status"] for row in rows[4:]] == [400, 400, 200, 200, 429]
    assert rows[0]["logprobs"] is True
    assert rows[0]["top_logprobs"] == 3
    assert rows[0]["org_id"] == "org-1"
    assert rows[3]["endpoint"] == "completions"
    assert (rows[6]["client_ip"], rows[6]["user_agent"]) == ("198.51.100.7", "probe/1")
    assert all(row["time"] is not None and row["latency_ms"] > 0 for row in rows)
    text = (folder / "log.jsonl").read_text()
    assert one not in text
    assert two not in text


def test_parquet_is_complete_when_the_server_stops(tmp_path: Path) -> None:
    settings = TeacherSettings(log=tmp_path / "served.jsonl")
    with serving(create_teacher_app(tiny_teacher(), settings)) as url:
        for key in ("k1", "k2"):
            with client(url, key) as asker:
                ask(asker, metadata={"session_id": "s-1"})
    table = pq.read_table(tmp_path / "served.parquet")
    assert table.schema.equals(EXCHANGES)
    assert table.column("session_id").to_pylist() == ["s-1", "s-1"]
    assert len(set(table.column("account_id").to_pylist())) == 2, "every key is an account of its own"
    lines = [json.loads(line) for line in (tmp_path / "served.jsonl").read_text().splitlines()]
    assert [line["request_id"] for line in lines] == table.column("request_id").to_pylist()
    assert not list(tmp_path.glob(".*"))


class Broken:
    """Fails in several ways."""

    name = "tiny"

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        for asked in asks:
            if "raise" in asked.prompt:
                raise ValueError("a secret prompt")
            if "down" in asked.prompt:
                yield failed(asked, self.name, status=503, error="connection_error: ConnectError")
                continue
            yield Answer(request_id=asked.request_id, choice=0, model=self.name, response="one of many")


def test_a_teacher_that_fails_does_not_take_the_server_down() -> None:
    with serving(create_teacher_app(Broken())) as url, client(url, "k") as asker:
        for prompt, code in (("raise", None), ("down", "connection_error")):
            for stream in (False, True):
                with pytest.raises(openai.InternalServerError) as caught:
                    ask(asker, prompt, stream=stream)
                assert caught.value.code == code
                assert "secret" not in str(caught.value)
        assert [choice.message.content for choice in ask(asker, "fine", n=3).choices] == ["one of many"]
        with ask(asker, "fine", stream=True) as stream:
            assert (
                "".join(choice.delta.content or "" for part in stream for choice in part.choices)
                == "one of many"
            )


def test_a_client_that_goes_away_frees_its_row() -> None:
    teacher = tiny_teacher()
    with serving(create_teacher_app(teacher)) as url, client(url, "k") as asker:
        stream = ask(asker, "long", stream=True, max_tokens=200, logit_bias={"0": -100})
        next(iter(stream))
        stream.close()
        deadline = time.monotonic() + 20
        while teacher.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not teacher.busy
        assert ask(asker).choices


def test_a_classifier_can_be_served() -> None:
    def predict(texts: list[str]) -> list[list[float]]:
        return [[0.9, 0.1] if "x" in text else [0.2, 0.8] for text in texts]

    teacher = ClassifierTeacher(predict, ["x", "y"], name="tiny")
    with serving(create_teacher_app(teacher)) as url, client(url, "k") as asker:
        assert ask(asker, "x?").choices[0].message.content == "x"
        assert ask(asker, "no").choices[0].message.content == "y"


class Scripted:
    """Writes what it is told, whole."""

    name = "tiny"

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        for asked in asks:
            reply = parse_reply(asked.prompt, tools=asked.tools, key="k")
            reason = "tool_calls" if reply.tool_calls else "stop"
            told = dict(zip(("response", "reasoning", "tool_calls"), reply, strict=True))
            yield Answer(request_id=asked.request_id, choice=0, model=self.name, finish_reason=reason, **told)  # type: ignore[arg-type]


def test_tool_calls_and_reasoning_reach_the_client() -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    wanted = '{"name": "add", "arguments": {"a": 1}}'
    with serving(create_teacher_app(Scripted())) as url, client(url, "k") as asker:
        whole = ask(asker, wanted, tools=tools).choices[0]
        assert whole.finish_reason == "tool_calls"
        assert whole.message.content is None
        assert whole.message.tool_calls[0].function.name == "add"
        assert json.loads(whole.message.tool_calls[0].function.arguments) == {"a": 1}
        with ask(asker, wanted, tools=tools, stream=True) as stream:
            parts = [choice for part in stream for choice in part.choices]
        [called] = [call for part in parts for call in part.delta.tool_calls or ()]
        assert (called.index, called.id, called.function.name) == (0, whole.message.tool_calls[0].id, "add")
        assert parts[-1].finish_reason == "tool_calls"
        assert ask(asker, wanted, tools=tools, tool_choice="none").choices[0].message.content == wanted
        thought = ask(asker, "<think>two and two</think>four").choices[0].message
        assert (thought.content, thought.reasoning_content) == ("four", "two and two")
        called_before: list[Any] = [
            {"role": "user", "content": "add"},
            {"role": "assistant", "content": None, "tool_calls": [called.model_dump(exclude={"index"})]},
            {"role": "tool", "tool_call_id": called.id, "content": "3"},
        ]
        assert ask(asker, messages=called_before).choices[0].message.content == ""


@pytest.mark.parametrize("written", ["<think>a b</think>four", "<thin air", "  <think", "plain €"])
@pytest.mark.parametrize("cut", [1, 3, 100])
def test_a_stream_holds_back_only_what_may_be_reasoning(written: str, cut: int) -> None:
    raw, reply = written.encode(), parse_reply(written)
    speaker = Speaker(Ask(request_id="a", prompt=""), 0, None)
    chunks = [part for at in range(0, len(raw), cut) for part in speaker.take(raw[at : at + cut], None)]
    said = "".join(part["delta"]["content"] for part in chunks)
    assert said in (written, "")
    assert (said == "") == written.lstrip().startswith("<think") or said == written
    answer = Answer(request_id="a", choice=0, model="m", response=reply.response, reasoning=reply.reasoning)
    last = speaker.finish(answer)
    whole = said + "".join(part["delta"].get("content", "") for part in last)
    assert whole == reply.response
    assert [part["delta"]["reasoning_content"] for part in last if "reasoning_content" in part["delta"]] == (
        [reply.reasoning] if reply.reasoning else []
    )
