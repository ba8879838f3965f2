"""Which format a file is in, from its first lines, without losing them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from kdguard.errors import LogError
from kdguard.readers.documents import Document, by_line, decode, over_lines
from kdguard.readers.reader import Reader
from kdguard.readers.registry import FORMATS
from kdguard.readers.rejects import Rejects, Unfit
from kdguard.readers.sources import Block, Source

_LINES = 64
_BLOCKS = 4  # of nothing but junk, before giving up
_BOM = b"\xef\xbb\xbf"


class Sniffed(NamedTuple):
    """A text log whose format is known, from its first line on."""

    reader: Reader
    documents: Iterator[Document]


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
    reader = reader or given
    if reader is None and not any(line.strip() for block in seen for line in block.lines):
        raise LogError(f"{source.name}: the file has no lines; a log must hold at least one exchange")
    if reader is None:
        raise LogError(
            f"{source.name}: no line could be read in a known format; name the format with --format "
            f"(one of {', '.join(FORMATS)}), or describe it in a file with --format mapping:FILE.toml"
        )
    return Sniffed(reader, documents(chain(seen, blocks)))


def _recognised(block: Block, given: Reader | None) -> tuple[Reader | None, int]:
    """The format of the first line that has one, and how many lines held objects."""
    objects = 0
    for line in islice((line for line in block.lines if line.strip()), _LINES):
        try:
            value = decode(line.removeprefix(_BOM))
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
    first = next((line.strip() for block in blocks for line in block.lines if line.strip()), b"")
    return first.removeprefix(_BOM)[:1] in (b"{", b"[")
