"""The ingest journal: numbered segments of frames, appended to, synced to the disk before anybody is told.

What is promised. `append` returns after `fsync` of the segment (and, for a new segment, of its folder), so a frame
that was answered for survives a kill of the process and a loss of power, as far as the disk keeps what it says it
wrote. A frame that was being written when the process died is cut off at the next start; its sender was never answered.
Many callers share one sync: a single writer takes everything that waits.

A segment is named by its number: `000000000007.open` while it is written, `000000000007.journal` after. Nothing is ever
changed in it; it is removed whole.
"""

from __future__ import annotations

import math
import os
import queue
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from kdguard.errors import ServiceError

_MAGIC = b"KDJ1"
_HEAD = struct.Struct("<4sII")  # magic, bytes, CRC-32
_OPEN, _SEALED = ".open", ".journal"
_MOST_AT_ONCE = 256
MOST_FRAME_BYTES = 1 << 30
FAILED_S = 10.0
"""For so long after a write that failed the journal says so; then it is tried again by whoever sends."""


class JournalFull(ServiceError):  # noqa: N818  (a state of the disk, told as 503)
    """The journal cannot take more now: the disk is full or too much waits to be scored."""


class Journal:
    """The journal of one tenant; one process may hold it at a time.

    Args:
        folder: Where segments lie; made if absent.
        most_backlog_bytes: Sealed and open bytes beyond which nothing more is taken.
        seal_bytes: Size at which a segment is sealed.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_backlog_bytes: int,
        seal_bytes: int = 64 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self._most, self._seal_bytes, self._clock = folder, most_backlog_bytes, seal_bytes, clock
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._number = self._recover()
        self._file: int | None = None
        self._size = 0
        self._opened = 0.0
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[int]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.backlog_bytes = 0
        self._failed = (-math.inf, "")
        self._writer = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._writer.start()

    def append(self, payload: bytes) -> int:
        """Write a frame durably and return the number of its segment.

        Raises:
            JournalFull: The disk or the backlog is full; nothing was written.
        """
        return self.submit(payload).result()

    def submit(self, payload: bytes) -> Future[int]:
        """As `append`, without waiting."""
        if len(payload) > MOST_FRAME_BYTES:
            raise ServiceError(f"a frame must have at most {MOST_FRAME_BYTES} bytes, got {len(payload)}")
        if self.backlog_bytes + len(payload) > self._most:
            raise JournalFull("too much waits to be scored; come back later")
        done: Future[int] = Future()
        self._waiting.put((payload, done))
        return done

    @property
    def open_bytes(self) -> int:
        """Bytes in the open segment."""
        return self._size if self._file is not None else 0

    @property
    def failed(self) -> str | None:
        """Why the latest write failed, if that was lately."""
        at, why = self._failed
        return why if self._clock() - at < FAILED_S else None

    def seal(self, older_than_s: float = 0.0) -> None:
        """End the open segment if it holds anything and is old enough."""
        with self._lock:
            if self._file is not None and self._size and self._clock() - self._opened >= older_than_s:
                self._seal()

    def close(self) -> None:
        """Write what waits, and seal."""
        self._waiting.put(None)
        self._writer.join()
        self.seal()
        if self._file is not None:
            os.close(self._file)
            self._path(self._number, _OPEN).unlink()
            self._file = None

    def _write_all(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            taken, ends = [first], False
            while len(taken) < _MOST_AT_ONCE and not ends:
                try:
                    one = self._waiting.get_nowait()
                except queue.Empty:
                    break
                ends = one is None
                taken += [one] if one is not None else []
            self._write(taken)
            if ends:
                return

    def _write(self, taken: list[tuple[bytes, Future[int]]]) -> None:
        with self._lock:
            try:
                number = self._append([payload for payload, _ in taken])
            except OSError as error:
                self._failed = (self._clock(), error.strerror or type(error).__name__)
                for _, done in taken:
                    done.set_exception(JournalFull(f"the journal cannot be written: {error.strerror}"))
                return
            self._failed = (-math.inf, "")
            for _, done in taken:
                done.set_result(number)
            if self._size >= self._seal_bytes:
                self._seal()

    def _append(self, payloads: list[bytes]) -> int:
        if self._file is None:
            self._open()
        assert self._file is not None
        before, rest = self._size, memoryview(b"".join(framed(payload) for payload in payloads))
        try:
            while rest:
                written = os.write(self._file, rest)
                self._size += written
                rest = rest[written:]
            os.fsync(self._file)
        except OSError:
            # After a failed sync nobody knows what the disk holds: go on in a new segment, without these frames.
            self._abandon(before)
            raise
        self.backlog_bytes += self._size - before
        return self._number

    def _open(self) -> None:
        path = self._path(self._number + 1, _OPEN)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._number, self._size, self._opened = self._number + 1, 0, self._clock()
        sync_folder(self.folder)

    def _abandon(self, size: int) -> None:
        assert self._file is not None
        os.ftruncate(self._file, size)
        self._size = size
        if size:
            self._seal()
            return
        os.close(self._file)
        self._file = None
        self._path(self._number, _OPEN).unlink(missing_ok=True)

    def _seal(self) -> None:
        assert self._file is not None
        os.close(self._file)
        self._file = None
        os.rename(self._path(self._number, _OPEN), self._path(self._number, _SEALED))

    def _recover(self) -> int:
        """Cut torn ends off, seal what was open, and return the highest number ever used."""
        highest = 0
        for path in self.folder.glob(f"*{_OPEN}"):
            good = _whole_bytes(path)
            if good:
                os.truncate(path, good)
                os.rename(path, path.with_suffix(_SEALED))
            else:
                path.unlink()
        marker = self.folder / "highest"
        if marker.exists():
            highest = int(marker.read_text())
        highest = max([highest, *sealed(self.folder)])
        _write_durably(marker, str(highest))
        return highest

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:012d}{suffix}"


def sealed(folder: Path) -> list[int]:
    """Numbers of the sealed segments, ascending."""
    return sorted(int(path.stem) for path in folder.glob(f"*{_SEALED}"))


def path_of(folder: Path, number: int) -> Path:
    """Where a sealed segment lies."""
    return folder / f"{number:012d}{_SEALED}"


def frames(path: Path) -> Iterator[bytes]:
    """The payloads of a segment, in order.

    Raises:
        ServiceError: A frame in the middle is damaged: the disk lost or changed what was acknowledged.
    """
    content, at = memoryview(path.read_bytes()), 0
    while at < len(content):
        payload = _frame(content, at)
        if payload is None:
            raise ServiceError(
                f"{path}: the frame at byte {at} is damaged; restore the file, or remove it to go on"
            )
        yield bytes(payload)
        at += _HEAD.size + len(payload)


def framed(payload: bytes) -> bytes:
    """A payload as it lies in a segment."""
    return _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _whole_bytes(path: Path) -> int:
    content, at = memoryview(path.read_bytes()), 0
    while at < len(content):
        payload = _frame(content, at)
        if payload is None:
            break
        at += _HEAD.size + len(payload)
    return at


def _frame(content: memoryview, at: int) -> memoryview | None:
    if len(content) - at < _HEAD.size:
        return None
    magic, size, checksum = _HEAD.unpack_from(content, at)
    payload = content[at + _HEAD.size : at + _HEAD.size + size]
    whole = magic == _MAGIC and len(payload) == size and zlib.crc32(payload) == checksum
    return payload if whole else None


def _write_durably(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(partial, path)
    sync_folder(path.parent)
