r"""Lines to decoded JSON documents: one a line as a rule, or one over many lines in indented files.

Lone surrogates (``"\ud800"`` without its partner), which strict JSON decoders refuse, become U+FFFD, because
a caller can put them into a prompt and must not thereby drop out of the log. Everything else that is not
JSON in UTF-8, is nested too deeply or holds NaN is a reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from kdguard.readers.rejects import DEEP, Unfit
from kdguard.readers.sources import BOM, MAX_LINE_BYTES, Block

_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SHAPE = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\]]', re.DOTALL)
_BRACKETS = (b"[", b"]")
_NOT_JSON = "a line must hold one JSON object in UTF-8"


class Document(NamedTuple):
    """One decoded document, or the reason why it is none."""

    line: int
    size_bytes: int
    value: Any
    unfit: Unfit | None
    raw: bytes


def decode(line: bytes) -> Any:
    """Decode one line.

    Raises:
        Unfit: It is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        first_error = str(error)
    try:
        if "surrogate" in first_error and b"\\u" in line:
            return orjson.loads(_without_lone_surrogates(line))
        body = line.strip()
        if body.endswith(b","):  # an array written one element a line
            return orjson.loads(body[:-1])
    except orjson.JSONDecodeError as error:
        first_error = str(error)
    if "depth limit" in first_error:
        raise Unfit(DEEP, "deeper") from None
    raise Unfit(_NOT_JSON, re.sub(r": line .*", "", first_error, flags=re.DOTALL)[:80])


def by_line(blocks: Iterable[Block]) -> Iterator[Document]:
    """Decode every line that is not blank."""
    loads = orjson.loads
    for start, lines in blocks:
        for number, line in enumerate(lines, start):
            if not line or line.isspace():
                continue
            try:
                yield Document(number, len(line), loads(line), None, line)
            except orjson.JSONDecodeError:
                if line.strip() in _BRACKETS:  # of an array written one element a line
                    continue
                yield _second_look(number, line.removeprefix(BOM) if number == 1 else line)


def over_lines(blocks: Iterable[Block]) -> Iterator[Document]:
    """Decode indented JSON: elements of a top-level array, or objects one after the other."""
    base = depth = size = begun = 0
    parts: list[bytes] = []
    for start, lines in blocks:
        for number, line in enumerate(lines, start):
            cut = 0
            for token in _SHAPE.finditer(line):
                mark = token[0]
                if mark == b"[" and depth == 0:
                    base = depth = 1
                elif mark in (b"{", b"["):
                    if depth == base:
                        cut, begun, size, parts = token.start(), number, 0, []
                    depth += 1
                elif mark in (b"}", b"]"):
                    depth = max(0, depth - 1)
                    if depth == base and begun:
                        parts.append(line[cut : token.end()])
                        yield _element(begun, parts, size + token.end() - cut)
                        begun, parts = 0, []
                    base = min(base, depth)
            if begun:
                size += len(line) - cut + 1
                if size <= MAX_LINE_BYTES:
                    parts += [line[cut:], b"\n"]
    if begun:
        unfit = Unfit("a file must end with its last record complete", "an unfinished record")
        yield Document(begun, size, None, unfit, b"")


def _element(number: int, parts: list[bytes], size: int) -> Document:
    if size > MAX_LINE_BYTES:
        unfit = Unfit(f"a record must be at most {MAX_LINE_BYTES >> 20} MiB", f"{size} bytes")
        return Document(number, size, None, unfit, b"")
    return _second_look(number, b"".join(parts))


def _second_look(number: int, line: bytes) -> Document:
    try:
        return Document(number, len(line), decode(line), None, line)
    except Unfit as unfit:
        return Document(number, len(line), None, unfit, line)


def _without_lone_surrogates(line: bytes) -> bytes:
    """Replace escapes of lone surrogates by the escape of U+FFFD; proper pairs stay."""
    out: list[bytes] = []
    done = 0
    high: re.Match[bytes] | None = None
    for escape in _ESCAPE.finditer(line):
        code = int(escape[1], 16) if escape[1] else 0
        if high is not None:
            joined = high.end() == escape.start() and 0xDC00 <= code <= 0xDFFF
            out += [line[done : high.start()], high[0] if not joined else line[high.start() : escape.end()]]
            if not joined:
                out[-1] = rb"\ufffd"
            done = escape.end() if joined else high.end()
            high = None
            if joined:
                continue
        if 0xD800 <= code <= 0xDBFF:
            high = escape
        elif 0xDC00 <= code <= 0xDFFF:
            out += [line[done : escape.start()], rb"\ufffd"]
            done = escape.end()
    if high is not None:
        out += [line[done : high.start()], rb"\ufffd"]
        done = high.end()
    return b"".join(out) + line[done:]
