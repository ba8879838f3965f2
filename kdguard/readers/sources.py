"""Files, globs, directories and stdin to blocks of lines, in memory that does not grow with the file.

Compression is told from the first bytes, never from the name. A damaged or truncated stream gives all lines
before the damage, then one reject. A line longer than `MAX_LINE_BYTES` is a reject and is never held whole.
"""

from __future__ import annotations

import glob
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast

import orjson
import zstandard

from kdguard.errors import LogError
from kdguard.readers.rejects import Rejects, Unfit

MAX_LINE_BYTES = 32 << 20
BOM = b"\xef\xbb\xbf"
BLOCK_BYTES = 8 << 20  # of lines handed on at once
BLOCK_LINES = 8192
_CHUNK_BYTES = 1 << 20
_ZSTD_PIECE_BYTES = 1 << 9  # what they unfold to must fit in memory: at most 128 KiB for every 4 bytes
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


_NO_LOGS = frozenset({".csv", ".tsv", ".md", ".toml", ".html", ".yaml", ".yml"})


class Block(NamedTuple):
    """Consecutive lines; ``start`` is the number of the first, from 1. Oversized lines are empty here."""

    start: int
    lines: list[bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """One log file, or stdin under the name ``-``."""

    name: str

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.name)

    def modified_s(self) -> float | None:
        """Modification time in Unix seconds; None for stdin."""
        return None if self.name == "-" else self.path.stat().st_mtime

    def magic(self) -> bytes:
        """The first bytes of the file as it lies on disk; empty for stdin and pipes, which give them once.

        Raises:
            LogError: The file cannot be opened, or it is empty.
        """
        if self.name == "-" or (self.path.exists() and not self.path.is_file()):
            return b""
        try:
            with self.path.open("rb") as file:
                head = file.read(8)
        except OSError as error:
            raise LogError(f"{self.name}: cannot be opened: {error.strerror}") from error
        if not head:
            raise LogError(f"{self.name}: the file is empty; a log must hold at least one exchange")
        return head

    def blocks(self, rejects: Rejects) -> Iterator[Block]:
        """Yield the lines, without their ends."""
        if self.name == "-":
            yield from _blocks(_plain(cast(io.BufferedReader, sys.stdin.buffer)), self.name, rejects)
            return
        with self.path.open("rb") as file:
            yield from _blocks(_plain(file), self.name, rejects)


def expand(paths: Sequence[str | Path]) -> list[Source]:
    """List the files that paths stand for: files, ``-``, globs (``**`` too), directories; each sorted.

    Left out of directories: names that start with ``.`` or ``_``, as data tools do, and files that are no
    logs by their suffix (tables, notes and configuration).

    Raises:
        LogError: A path leads to no file.
    """
    found: list[str] = []
    for given in map(str, paths):
        path = Path(given)
        if given == "-" or path.is_file() or path.is_fifo() or path.is_char_device():
            found.append(given)
        elif path.is_dir():
            inside = [p for p in path.rglob("*") if p.is_file() and _may_be_log(p)]
            found.extend(sorted(map(str, inside)))
            if not inside:
                raise LogError(f"{given}: the directory holds no log file")
        else:
            if path.is_symlink():
                raise LogError(f"{given}: the link leads to no file")
            matched = sorted(name for name in glob.glob(given, recursive=True) if Path(name).is_file())
            if not matched:
                raise LogError(f"{given}: no such file, and no file matches it as a pattern")
            found.extend(matched)
    if not found:
        raise LogError("no log was given; name a file, a directory, a pattern, or - for stdin")
    return [Source(name) for name in dict.fromkeys(found)]


def _may_be_log(path: Path) -> bool:
    return path.name[0] not in "._" and path.suffix.lower() not in _NO_LOGS


def _plain(buffered: io.BufferedReader) -> IO[bytes]:
    """Take the compression off, if there is any."""
    head = buffered.peek(4)[:4]
    if head[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=buffered, mode="rb")  # type: ignore[return-value]
    if head == b"\x28\xb5\x2f\xfd":
        return cast(IO[bytes], _Zstandard(buffered))
    return buffered


class _Zstandard:
    """A zstd stream of any number of frames that, unlike the library's own reader, tells an early end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = b""
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._open = False

    def read(self, size: int) -> bytes:
        """Return the next bytes, however many they are; none at the end.

        Raises:
            EOFError: The last frame is cut.
            zstandard.ZstdError: The stream is damaged.
        """
        while piece := self._left or self._file.read(_ZSTD_PIECE_BYTES):
            found = self._frame.decompress(piece)
            self._left, self._open = self._frame.unused_data, not self._frame.eof
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            if found:
                return found
        if self._open:
            self._open = False
            raise EOFError("a frame is cut")
        return b""


def _chunks(file: IO[bytes]) -> Iterator[bytes | Exception]:
    """Yield what can be had, then the error that ended it, if one did."""
    read = getattr(file, "read1", file.read)
    while True:
        try:
            chunk = read(_CHUNK_BYTES)
        except _DAMAGE as error:
            yield error
            return
        if not chunk:
            return
        yield chunk


def _whole(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _blocks(file: IO[bytes], name: str, rejects: Rejects) -> Iterator[Block]:
    lines: list[bytes] = []
    start, held = 1, 0
    pending: list[bytes] = []
    pending_bytes = 0
    damage: Exception | None = None

    def finish() -> bytes:
        nonlocal pending, pending_bytes
        size, parts = pending_bytes, pending
        pending, pending_bytes = [], 0
        if size <= MAX_LINE_BYTES:
            return b"".join(parts)
        rule = f"a line must be at most {MAX_LINE_BYTES >> 20} MiB"
        rejects.add(name, start + len(lines), Unfit(rule, f"{size} bytes"), size_bytes=size)
        return b""

    for chunk in _chunks(file):
        if isinstance(chunk, Exception):
            damage = chunk
            break
        pieces = chunk.split(b"\n")
        for piece in pieces[:-1]:
            if pending:
                pending_bytes += len(piece)
                pending.append(piece)
                piece = finish()
            lines.append(piece)
            held += len(piece)
            if len(lines) >= BLOCK_LINES or held >= BLOCK_BYTES:
                yield Block(start, lines)
                start, lines, held = start + len(lines), [], 0
        tail = pieces[-1]
        pending_bytes += len(tail)
        if pending_bytes <= MAX_LINE_BYTES:
            if tail:
                pending.append(tail)
        else:
            pending = [b"oversized"]  # counted on, held no more
    if pending and (damage is None or pending_bytes > MAX_LINE_BYTES or _whole(b"".join(pending))):
        lines.append(finish())
    if lines:
        yield Block(start, lines)
    if damage is not None:
        rule = "a compressed file must be whole"
        given = f"damage or an early end after line {start + len(lines) - 1} ({type(damage).__name__})"
        rejects.add(name, start + len(lines), Unfit(rule, given), size_bytes=pending_bytes)
