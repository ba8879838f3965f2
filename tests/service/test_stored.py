"""Stored completions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

import kdguard
from kdguard.errors import TeacherError
from kdguard.service.accounts import add_account
from kdguard.service.stored_completions import StoredCompletions
from kdguard.service.teacher import TeacherSettings, create_teacher_app
from tests.service.asking import ask, client
from tests.service.conftest import tiny_teacher
from tests.service.serving import serving


def body(name: str, model: str = "m", **metadata: str) -> dict[str, Any]:
    return {"id": name, "object": "chat.completion", "model": model, "choices": [], "metadata": metadata}


def test_completions_are_listed_to_their_owner_and_outlive_the_server(tmp_path: Path) -> None:
    keys, stored = tmp_path / "keys.json", tmp_path / "stored.jsonl"
    one, two = add_account(keys, "acct-1"), add_account(keys, "acct-2")
    settings = TeacherSettings(keys=keys, stored=stored)
    with (
        serving(create_teacher_app(tiny_teacher(), settings)) as url,
        client(url, one) as asker,
        client(url, two) as other,
    ):
        kept = [
            ask(asker, f"prompt {at}", store=True, metadata={"run": str(at % 2), "at": str(at)})
            for at in range(7)
        ]
        with ask(asker, "streamed", store=True, stream=True, metadata={"run": "s"}) as stream:
            [streamed] = {part.id for part in stream}
        ask(asker, "not kept")
        with pytest.raises(openai.BadRequestError):
            ask(asker, "x" * 3000, store=True)
        ids = [completion.id for completion in kept] + [streamed]
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
        for foreign in (other.chat.completions.retrieve, other.chat.completions.delete):
            with pytest.raises(openai.NotFoundError):
                foreign(ids[0])
        for wrong in ({"limit": 0}, {"limit": 101}, {"order": "up"}):
            with pytest.raises(openai.BadRequestError) as refused:
                api.list(**wrong)
            assert refused.value.param == next(iter(wrong))
    with serving(create_teacher_app(tiny_teacher(), settings)) as again, client(again, one) as asker:
        found = asker.chat.completions.list(limit=100).data
        assert [completion.id for completion in found] == [ids[0], *ids[2:]]
    assert stored.stat().st_mode & 0o077 == 0, "prompts are nobody else's business"
    rows = [row for batch in kdguard.read(str(stored)) for row in batch.to_pylist()]
    assert [row["prompt"] for row in rows] == [
        "prompt 0",
        *(f"prompt {at}" for at in range(2, 7)),
        "streamed",
    ]


def test_a_line_torn_by_a_kill_is_dropped_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stored.jsonl"
    first = StoredCompletions(path)
    for at in range(3):
        first.add("a", body(f"c{at}"), [])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    second = StoredCompletions(path)
    assert [one["id"] for one in second.list("a")["data"]] == ["c0", "c1"]
    second.add("a", body("c3"), [])
    assert [one["id"] for one in StoredCompletions(path).list("a")["data"]] == ["c0", "c1", "c3"]
    for damage in (b"{}\n", b"\xff\n", b"[]\n", b"[" * 50_000 + b"\n"):
        path.write_bytes(damage + whole)
        with pytest.raises(TeacherError, match=r"stored\.jsonl:1: not a stored completion"):
            StoredCompletions(path)
    with pytest.raises(TeacherError, match="cannot be written"):
        StoredCompletions(tmp_path / "no" / "stored.jsonl")


def test_what_cannot_be_written_is_not_pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stored.jsonl"
    stored = StoredCompletions(path)
    stored.add("a", body("c0", run="1"), [])
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.open", full)
        patched.setattr("tempfile.mkstemp", full)
        for change in (
            lambda: stored.add("a", body("c1"), []),
            lambda: stored.delete("a", "c0"),
            lambda: stored.update("a", "c0", {"run": "2"}),
        ):
            with pytest.raises(TeacherError, match="No space left"):
                change()
    assert path.read_bytes() == before
    assert [one["metadata"] for one in stored.list("a")["data"]] == [{"run": "1"}]
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["c0"]
