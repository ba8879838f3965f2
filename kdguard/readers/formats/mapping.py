"""A small TOML file that describes any other log: JSON, Parquet, or CSV and TSV with a header row.

::

    name = "acme"                      # source_format; the file's name without it
    records = "events"                 # optional: dotted path of a list of records inside each document
    request = "http.request_body"      # optional: a body in a known dialect, decoded or as text
    response = "http.response_body"    # optional: likewise

    [columns]                          # exchange column = dotted path, or a list of paths tried in order
    account_id = ["auth.customer", "auth.key_id"]
    time = "started"

    [constants]                        # exchange column = value
    endpoint = "chat"

Account and session are what ``[columns]`` says; there is no fallback.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kdguard.errors import LogError
from kdguard.exchanges.schema import EXCHANGES
from kdguard.readers.dialects.content import at
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick

_KEYS = {"name", "records", "request", "response", "columns", "constants"}


def load_mapping(path: Path) -> JsonReader:
    """Make a reader from a mapping file.

    Raises:
        LogError: The file is missing, not TOML, or names a column or key that does not exist.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LogError(f"{path}: the mapping cannot be opened: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LogError(f"{path}: a mapping must be TOML: {error}") from error
    if unknown := sorted(set(told) - _KEYS):
        misplaced = f"; '{unknown[0]}' belongs under [columns]" if unknown[0] in EXCHANGES.names else ""
        known = ", ".join(sorted(_KEYS))
        raise LogError(f"{path}: a mapping has the keys {known}; got '{unknown[0]}'{misplaced}")
    columns, constants = _table(path, told, "columns"), _table(path, told, "constants")
    paths = {column: _paths(path, column, value) for column, value in columns.items()}
    body = {key: told[key] for key in ("records", "request", "response") if key in told}
    for key, value in body.items():
        if not isinstance(value, str):
            raise LogError(f"{path}: '{key}' must be a dotted path, got {type(value).__name__}")
    if not paths and "request" not in body:
        raise LogError(f"{path}: a mapping must have [columns] or 'request'")

    told_of = [*body.values(), *(one for listed in paths.values() for one in listed)]

    def to_rows(record: Record) -> Iterator[Row]:
        row = constants | pick(record, paths)
        asked, answered = (at(record, body[key]) if key in body else None for key in ("request", "response"))
        return exchanges(asked, answered, row)

    def to_records(document: Record) -> Iterable[Record]:
        inside = at(document, body["records"]) if "records" in body else [document]
        return [entry for entry in inside if isinstance(entry, dict)] if isinstance(inside, list) else ()

    return JsonReader(
        name=str(told.get("name", path.stem)),
        about=f"as described in {path.name}, with a field {' or '.join(told_of)}",
        match=lambda record: any(at(record, one) is not None for one in told_of),
        exchanges=to_rows,
        explode=to_records,
    )


def _table(path: Path, told: dict[str, Any], key: str) -> dict[str, Any]:
    table = told.get(key, {})
    if not isinstance(table, dict):
        raise LogError(f"{path}: [{key}] must be a table")
    if unknown := sorted(set(table) - set(EXCHANGES.names)):
        meant = "".join(
            f", did you mean '{name}'?" for name in get_close_matches(unknown[0], EXCHANGES.names, 1)
        )
        known = ", ".join(EXCHANGES.names)
        raise LogError(
            f"{path}: [{key}] must name exchange columns, got '{unknown[0]}'{meant} The columns are {known}"
        )
    return table


def _paths(path: Path, column: str, value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise LogError(f"{path}: column '{column}' must be a dotted path or a list of them")
    return tuple(listed)
