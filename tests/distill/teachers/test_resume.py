"""Killed, out of room, or answered otherwise the second time: what was kept is whole, and is not asked again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kdguard.distill.teachers.collect import collect
from kdguard.distill.teachers.endpoint import EndpointTeacher
from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TranscriptError
from tests.distill.teachers.scripted_server import Reply, Script, chat, serving

ROOT = Path(__file__).resolve().parents[3]
CONCURRENCY = 3
ASK_MANY = """
import sys
from kdguard.distill.teachers.collect import collect
from kdguard.distill.teachers.endpoint import EndpointTeacher
from kdguard.distill.transcripts.writer import TranscriptWriter
from tests.distill.teachers.test_resume import CONCURRENCY, many
with TranscriptWriter(sys.argv[1]) as writer:
    collect(EndpointTeacher(sys.argv[2], "m", concurrency=CONCURRENCY), many(10_000), writer)
"""


def many(count: int) -> list[Ask]:
    return [Ask(request_id=f"r{at:05d}", prompt=f"p{at:05d}", top_logprobs=0) for at in range(count)]


def prompts(script: Script) -> list[str]:
    return [str(body["messages"][0]["content"]) for body in script.seen]


def spelt(text: str, cuts: Sequence[str]) -> dict[str, Any]:
    """An answer whose tokens are cut in this way."""
    content = [{"token": cut, "logprob": -0.5, "bytes": list(cut.encode())} for cut in cuts]
    assert "".join(cuts) == text
    return chat(text, logprobs={"content": content})


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_kill_9_loses_no_more_than_was_under_way_and_nothing_else_is_asked_twice(tmp_path: Path) -> None:
    wanted = 60
    with serving(Script(lambda number, asked: (200, spelt("yes", ("y", "es")), {}))) as script:
        command = [sys.executable, "-c", ASK_MANY, str(tmp_path), script.url]
        with subprocess.Popen(command, cwd=ROOT) as process:
            while len(script.seen) < wanted // 2:
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        before = len(script.seen)
        with TranscriptWriter(tmp_path) as writer:
            kept = writer.done_ids()
            assert before - len(kept) <= CONCURRENCY
            teacher = EndpointTeacher(script.url, "m", concurrency=CONCURRENCY)
            done = collect(teacher, many(before + 20), writer)
            teacher.close()
            writer.seal()
    assert done.skipped == len(kept)
    times = Counter(prompts(script))
    assert len(times) == before + 20
    assert sum(count - 1 for count in times.values()) == before - len(kept)
    told = read_transcripts(tmp_path)
    assert told.exchanges.num_rows == len(told.tokens) == before + 20


def test_a_second_try_that_cuts_its_tokens_otherwise_replaces_the_first_whole(tmp_path: Path) -> None:
    """Text and tokens of an answer are kept together, whatever an earlier try said."""

    def reply(number: int, asked: dict[str, Any]) -> Reply:
        if number == 0:  # cut off on the way
            return (
                200,
                b'{"choices": [{"index": 0, "message": {"content": "yes"}, "logprobs": {"content": [{"t',
                {},
            )
        if number == 1:
            return 200, spelt("yes", ("yes",)) | {"choices": []}, {}
        return 200, spelt("yes, indeed", ("y", "es", ", indeed")), {}

    with serving(Script(reply)) as script:
        for tries in range(1, 4):
            teacher = EndpointTeacher(script.url, "m", retries=0)
            with TranscriptWriter(tmp_path) as writer:
                done = collect(teacher, many(1), writer)
                assert done.failed == (tries < 3)
            teacher.close()
        assert len(script.seen) == 3
    with TranscriptWriter(tmp_path) as writer:
        writer.seal()
    told = read_transcripts(tmp_path)
    assert told.exchanges.column("response").to_pylist() == ["yes, indeed"]
    trace = told.tokens.get("r00000")
    assert trace is not None
    assert trace.token_bytes == (b"y", b"es", b", indeed")
    assert len(told.tokens) == 1


class RunsFull(TranscriptWriter):
    """A folder on a disk with room for a few exchanges."""

    room = 5

    def append(self, ask: Ask, answers: Sequence[Answer], **columns: Any) -> None:
        if not self.room:
            raise TranscriptError("unsealed.journal: cannot be written: No space left on device")
        self.room -= 1
        super().append(ask, answers, **columns)


def test_a_full_disk_stops_the_asking_and_costs_what_was_under_way(tmp_path: Path) -> None:
    with serving(Script(lambda number, asked: (200, spelt("yes", ("yes",)), {}))) as script:
        teacher = EndpointTeacher(script.url, "m", concurrency=CONCURRENCY)
        with RunsFull(tmp_path) as writer, pytest.raises(TranscriptError, match="No space left"):
            collect(teacher, many(40), writer)
        sent = len(script.seen)
        assert sent <= 5 + CONCURRENCY
        with TranscriptWriter(tmp_path) as writer:
            done = collect(teacher, many(40), writer)
        teacher.close()
    assert (done.skipped, done.asked, done.failed) == (5, 35, 0)
    assert len(script.seen) == sent + 35
