"""Which format a file is in, from its first lines, without losing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any, NamedTuple

from kdguard.errors import LogError
from kdguard.readers.documents import Document, by_line, decode, over_lines
from kdguard.readers.formats import flat
from kdguard.readers.reader import Reader
from kdguard.readers.registry import FORMATS
from kdguard.readers.rejects import Rejects, Unfit
from kdguard.readers.sources import BOM, Block, Source
from kdguard.readers.tables import DELIMITERS, by_row, header

_LINES = 64
_BLOCKS = 4  # of nothing but junk, before giving up


class Sniffed(NamedTuple):
    """A text log whose format is known, from its first line on; `layout` names it where it is no JSON."""

    reader: Reader
    documents: Iterator[Document]
    layout: str = ""


def sniffed(source: Source, rejects: Rejects, given: Reader | None = None) -> Sniffed:
    """Look at the first lines, then hand them back in front of the rest.

    Args:
        source: A text log, compressed or not.
        rejects: Receives lines that are too long, and damage.
        given: The format, if the user named it; then only the layout (lines or indented) is told.

    Raises:
        LogError: No format matches.
    """
    blocks = source.blocks(rejects)
    seen: list[Block] = []
    reader: Reader | None = None
    for block in islice(blocks, _BLOCKS):
        seen.append(block)
        reader, objects = _recognised(block, given)
        if reader is not None or objects:
            break
    documents = by_line
    if reader is None and _begins_with_bracket(seen):
        heads = [head.value for head in islice(over_lines(seen), _LINES) if head.unfit is None]
        reader = next(filter(None, (_matching(head, given) for head in heads)), None)
        documents = over_lines if reader is not None else by_line
    if reader is None and (table := _table(seen, given)) is not None:
        reader, delimiter = table
        return Sniffed(reader, by_row(chain(seen, blocks), delimiter), DELIMITERS[delimiter])
    reader = reader or given
    if reader is None and not any(line.strip() for block in seen for line in block.lines):
        damage = rejects.messages(1) if rejects.of(source.name).rejected else []
        raise LogError(
            f"{source.name}: the file has no lines; a log must hold at least one exchange"
            + "".join(f" ({one})" for one in damage)
        )
    if reader is None:
        _refuse_known(source.name, _first_line(seen))
        raise LogError(
            f"{source.name}: no line could be read in a known format; name the format with --format "
            f"(one of {', '.join(FORMATS)}), or describe it in a file with --format mapping:FILE.toml"
        )
    return Sniffed(reader, documents(chain(seen, blocks)))


def _table(blocks: list[Block], given: Reader | None) -> tuple[Reader, str] | None:
    """The format of a table with a header row, and what stands between its cells."""
    for delimiter in DELIMITERS:
        names = header(_first_line(blocks), delimiter)
        reader = _matching(dict.fromkeys(names, ""), given) if names else None
        if reader is not None:
            return reader, delimiter
    return None


def _refuse_known(name: str, line: bytes) -> None:
    """Say what a file is that is often taken for a log.

    Raises:
        LogError: It is one of these.
    """
    if line[:2] == b"PK":
        raise LogError(f"{name}: the file is a ZIP archive or a spreadsheet; unpack it, or export it as CSV")
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or _every_second_is_nul(line):
        raise LogError(
            f"{name}: the file is UTF-16, and a log must be UTF-8; convert it with: iconv -f UTF-16 -t UTF-8"
        )
    names = {cell for delimiter in DELIMITERS for cell in header(line, delimiter) or ()}
    with suppress(Unfit):
        value = decode(line)
        names |= set(value) if isinstance(value, dict) else set()
    if flat.is_accounts(names):
        raise LogError(f"{name}: the file is an accounts table and no log; give it with --accounts")


def _every_second_is_nul(line: bytes) -> bool:
    first, second = line[:200:2], line[1:200:2]
    return any(a.count(0) > 0.7 * len(a) > 2.0 > b.count(0) for a, b in ((first, second), (second, first)))


def _recognised(block: Block, given: Reader | None) -> tuple[Reader | None, int]:
    """The format of the first line that has one, and how many lines held objects."""
    objects = 0
    for line in islice((line for line in block.lines if line.strip()), _LINES):
        try:
            value = decode(line.removeprefix(BOM))
        except Unfit:
            continue
        objects += bool(value) and isinstance(value, dict | list)
        found = _matching(value, given)
        if found is not None:
            return found, objects
    return None, objects


def _matching(value: Any, given: Reader | None) -> Reader | None:
    for record in value if isinstance(value, list) else [value]:
        for reader in FORMATS.values() if given is None else [given]:
            if isinstance(record, dict) and _looks_like(reader, record):
                return reader
    return None


def _looks_like(reader: Reader, record: dict[str, Any]) -> bool:
    try:
        return reader.matches(record)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return False


def _begins_with_bracket(blocks: list[Block]) -> bool:
    return _first_line(blocks).strip().removeprefix(BOM)[:1] in (b"{", b"[")


def _first_line(blocks: list[Block]) -> bytes:
    return next((line for block in blocks for line in block.lines if line.strip()), b"")
