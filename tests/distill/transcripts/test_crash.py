"""Killed, out of room, or damaged: what was appended before is there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kdguard.distill.transcripts import folder as layout
from kdguard.distill.transcripts.journal import MAGIC, Journal, read_frames
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TranscriptError
from tests.distill.transcripts.made_answers import answers, ask, trace

ROOT = Path(__file__).resolve().parents[3]
WRITE_FOR_EVER = """
import sys
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TranscriptError
from tests.distill.transcripts.made_answers import answers, ask
if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
writer = TranscriptWriter(sys.argv[1])
try:
    for number in range(100_000):
        writer.append(ask(number), answers(number))
        print(f"r{number:04d}", flush=True)
except TranscriptError as error:
    print(error, flush=True)
"""


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(folder), *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_kill_9_loses_at_most_the_exchange_in_flight(tmp_path: Path) -> None:
    told: set[str] = set()
    for wanted in (1, 40):
        with start(tmp_path / str(wanted)) as process:
            lines = process.stdout
            assert lines is not None
            told = {lines.readline().strip() for _ in range(wanted)}
            process.send_signal(signal.SIGKILL)
            told |= {line.strip() for line in lines if line.endswith("\n")}
        with TranscriptWriter(tmp_path / str(wanted)) as writer:
            kept = writer.done_ids()
            assert told <= kept
            assert len(kept - told) <= 1
            number = len(kept)
            writer.append(ask(number), answers(number))
            writer.seal()
        found = read_transcripts(tmp_path / str(wanted))
        assert found.exchanges.num_rows == number + 1
        assert found.tokens.get(f"r{number:04d}") == trace(10 * number)


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_a_clear_error_that_keeps_what_was_written(tmp_path: Path) -> None:
    with start(tmp_path, "20000") as process:
        out, _ = process.communicate(timeout=60)
    *told, said = out.splitlines()
    assert "unsealed.journal: cannot be written" in said
    assert "what was appended before is kept" in said
    assert len(told) > 3
    with TranscriptWriter(tmp_path) as writer:
        assert writer.done_ids() == set(told)


def test_after_a_full_disk_the_same_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TranscriptWriter(tmp_path) as writer:
        writer.append(ask(1), answers(1))
        size = (tmp_path / layout.JOURNAL).stat().st_size
        journal = writer._journal
        assert journal is not None
        full = _Full(journal._file)
        monkeypatch.setattr(journal, "_file", full)
        with pytest.raises(TranscriptError, match="No space left on device"):
            writer.append(ask(2), answers(2))
        assert (tmp_path / layout.JOURNAL).stat().st_size == size
        assert writer.done_ids() == {"r0001"}
        full.room = 1 << 30
        writer.append(ask(2), answers(2))
    assert read_transcripts(tmp_path).tokens.get("r0002") == trace(20)


class _Full:
    """A file on a disk with room for a few bytes more."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.room = 100

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self._file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_full_disk_while_sealing_keeps_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with TranscriptWriter(tmp_path) as writer:
        writer.append(ask(1), answers(1))
        for place in ("store.write", "write_tokens", "_sync"):
            with monkeypatch.context() as patch:
                patch.setattr(f"kdguard.distill.transcripts.folder.{place}", no_room)
                with pytest.raises(TranscriptError, match=r"cannot be sealed: No space left.*seal again"):
                    writer.seal()
            assert read_transcripts(tmp_path).tokens.get("r0001") == trace(10)
        writer.append(ask(2), answers(2))
        assert writer.seal()["counts"]["requests"] == 2
    assert read_transcripts(tmp_path).is_sealed


def test_any_cut_of_the_file_keeps_the_whole_frames_before_it(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    journal = Journal(whole)
    for payload in (b"one", b"two" * 5, b"three"):
        journal.append(payload)
    journal.close()
    data = whole.read_bytes()
    ends = [frame.end for frame in read_frames(whole)]
    for length in range(len(data) + 1):
        cut = tmp_path / "cut"
        cut.write_bytes(data[:length] + bytes(7 * (length % 2)))  # a power cut may leave zeros
        kept = sum(end <= length for end in ends)
        if length >= len(MAGIC) or length % 2 == 0:
            assert len(list(read_frames(cut))) == kept, length
            again = Journal(cut)
            again.append(b"next")
            again.close()
            assert [frame.payload for frame in read_frames(cut)][kept:] == [b"next"]


def test_damage_before_the_end_is_named_and_never_cut_off(tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path) as writer:
        for number in (1, 2, 3):
            writer.append(ask(number), answers(number))
    path = tmp_path / layout.JOURNAL
    data = bytearray(path.read_bytes())
    second = list(read_frames(path))[2]
    data[second.start + 20] ^= 1
    path.write_bytes(data)
    for opening in (TranscriptWriter, read_transcripts):
        with pytest.raises(TranscriptError, match=f"damaged at byte {second.start}"):
            opening(tmp_path)
    assert path.read_bytes() == data
    path.write_bytes(b"kdguard journal 9\n" + data)
    with pytest.raises(TranscriptError, match="not a journal of this version"):
        TranscriptWriter(tmp_path)


def test_a_journal_of_other_schemas_is_refused(tmp_path: Path) -> None:
    path = tmp_path / layout.JOURNAL
    journal = Journal(path)
    journal.append(b'{"versions":{"codec":9,"exchanges":1},"about":{}}')
    journal.close()
    with pytest.raises(TranscriptError, match="must be of versions"):
        TranscriptWriter(tmp_path)
    path.unlink()
    journal = Journal(path)
    journal.append(b"nonsense")
    journal.close()
    with pytest.raises(TranscriptError, match="first frame must tell"):
        read_transcripts(tmp_path)
