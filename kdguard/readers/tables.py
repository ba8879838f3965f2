"""CSV and TSV with a header row: one more way, beside JSON, to lay out the records of any format.

The header names the fields (`auth.customer` is one field, and the path to it), every further row is a record of text.
An empty cell is a field that is absent. A quoted cell may hold line ends; a row is named by the line on which it
begins. Cells of the columns in `_DECODED` are JSON, since no text is meant there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from kdguard.readers.documents import Document, decode
from kdguard.readers.rejects import Unfit
from kdguard.readers.sources import BOM, MAX_LINE_BYTES, Block

DELIMITERS = {",": "CSV", "\t": "TSV", ";": "CSV"}
"""What may stand between cells, and what a file with it is called."""
_DECODED = ("messages", "label_probs")


def header(line: bytes, delimiter: str) -> list[str] | None:
    """The names in the first line of a table; None where it is no header.

    Args:
        line: The first line that is not blank.
        delimiter: One of `DELIMITERS`.
    """
    try:
        text = line.removeprefix(BOM).decode("utf-8")
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return None
    named = all(name.isprintable() and name for name in names)
    return names if named and 2 <= len(names) == len(set(names)) else None


def by_row(blocks: Iterable[Block], delimiter: str) -> Iterator[Document]:
    """Read every row after the header as a record.

    Args:
        blocks: Lines, from the header on.
        delimiter: One of `DELIMITERS`, with which `header` finds names.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = _Lines(blocks)
    rows = csv.reader(lines, delimiter=delimiter)
    names: list[str] = []
    while True:
        begun = lines.number + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            broken = Unfit("a row must be a row of a CSV table", str(error))
            yield Document(begun, lines.taken(), None, broken, b"")
            continue
        size_bytes = lines.taken()
        if not names:
            names = [cell.strip() for cell in cells]
        elif cells:
            value, unfit = _record(names, cells)
            yield Document(begun, size_bytes, value, unfit, b"")


class _Lines:
    """Lines as text, with the number of the last one and the bytes since one asked."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.number = 0
        self._bytes = 0
        self._text = self._decoded(blocks)

    def __iter__(self) -> Iterator[str]:
        return self._text

    def taken(self) -> int:
        taken, self._bytes = self._bytes, 0
        return taken

    def _decoded(self, blocks: Iterable[Block]) -> Iterator[str]:
        for start, lines in blocks:
            for number, line in enumerate(lines, start):
                if number == 1:
                    line = line.removeprefix(BOM)
                self.number = number
                self._bytes += len(line)
                yield line.decode("utf-8", "surrogateescape") + "\n"


def _record(names: list[str], cells: list[str]) -> tuple[dict[str, Any] | None, Unfit | None]:
    try:
        if len(cells) != len(names):
            raise Unfit("a row must have as many cells as the header", f"{len(cells)} for {len(names)}")
        record: dict[str, Any] = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        "".join(cells).encode()
        for name in _DECODED:
            if name in record:
                record[name] = decode(record[name].encode())
    except UnicodeEncodeError:
        return None, Unfit("a row must be UTF-8", "other bytes")
    except Unfit as unfit:
        return None, unfit
    return record, None
