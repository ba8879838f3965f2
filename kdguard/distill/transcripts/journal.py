"""A file of checksummed frames that is only ever appended to: what a crash leaves behind can be read.

A frame is `length, crc32, payload`, written in one call. A process killed while it writes leaves at most one torn frame
at the end, which readers skip and the next writer cuts off. A frame that is broken elsewhere is damage, and is named.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from kdguard.errors import TranscriptError

MAGIC: Final = b"kdguard journal 1\n"
_HEAD: Final = struct.Struct("<II")
_MOST_BYTES: Final = (1 << 32) - 1


class Frame(NamedTuple):
    """A whole frame: where it begins, where the next one does, and what it holds."""

    start: int
    end: int
    payload: bytes


def read_frames(path: Path) -> Iterator[Frame]:
    """Read all whole frames; a torn one at the end is left out.

    Raises:
        TranscriptError: The file cannot be opened, is no journal of this version, or is damaged before its end.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise TranscriptError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(len(MAGIC))
        if head != MAGIC:
            if MAGIC.startswith(head):  # killed while the file was begun
                return
            raise TranscriptError(
                f"{path}: must begin with {MAGIC!r}, got {head!r}; not a journal of this version"
            )
        start = len(MAGIC)
        while (frame := _next(file, start, size, path)) is not None:
            yield frame
            start = frame.end


def read_frame(file: BinaryIO, start: int) -> bytes:
    """The payload of the frame that begins at `start`, found there by `read_frames` before."""
    file.seek(start)
    length, _ = _HEAD.unpack(file.read(_HEAD.size))
    return file.read(length)


def _next(file: BinaryIO, start: int, size: int, path: Path) -> Frame | None:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack(head)
    payload = file.read(length) if start + _HEAD.size + length <= size else b""
    end = start + _HEAD.size + length
    if length and len(payload) == length and zlib.crc32(payload) == checksum:
        return Frame(start, end, payload)
    rest = file.read()
    if end >= size or not any(rest):  # torn, perhaps with the zeros that a power cut leaves
        return None
    raise TranscriptError(f"{path}: damaged at byte {start}; what stands before it is whole")


class Journal:
    """The one writer of a journal.

    Args:
        path: The file; made if absent. A torn frame at its end is cut off.

    Raises:
        TranscriptError: Another process writes it, it is damaged, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise TranscriptError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            _lock(self._file, path)
            ends = [frame.end for frame in read_frames(path)]
            self._end = ends[-1] if ends else len(MAGIC)
            if os.fstat(self._file.fileno()).st_size < len(MAGIC):
                self._file.truncate(0)
                self._end = 0
                self._write(MAGIC)
            self._file.truncate(self._end)
        except BaseException:
            self._file.close()
            raise

    def append(self, payload: bytes) -> int:
        """Append one frame; it survives the death of this process once this returns.

        Returns:
            Where the frame begins.

        Raises:
            TranscriptError: The disk is full, or the file cannot be written; it then ends as it did before.
        """
        if not 0 < len(payload) <= _MOST_BYTES:
            raise TranscriptError(
                f"{self.path}: a frame must hold 1 to {_MOST_BYTES} bytes, got {len(payload)}"
            )
        start = self._end
        self._write(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
        return start

    def close(self) -> None:
        """Close the file and let another process write it."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            self._file.truncate(self._end)
            raise TranscriptError(
                f"{self.path}: cannot be written: {error.strerror}; what was appended before is kept, "
                "go on with the same folder once there is room"
            ) from error
        self._end += len(data)


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other writers out; the system lifts the lock when the process ends, however it ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TranscriptError(
            f"{path}: another process is writing it; wait for it or use another folder"
        ) from error
