"""Tables that the commands around marks read: Parquet, CSV or JSON lines, with named columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdguard.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read a table that must have these columns, in this order; others are dropped.

    Raises:
        InputError: It cannot be read, or lacks a column.
    """
    table = _read(path)
    lacking = [name for name in columns if name not in table.column_names]
    if lacking:
        has = ", ".join(table.column_names)
        raise InputError(f"{path}: must have a column {lacking[0]!r}; it has {has}")
    return table.select(list(columns))


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Read rows of a table; a missing value is None."""
    return list(zip(*(column.to_pylist() for column in read_table(path, columns).columns), strict=True))


def column_names(path: Path) -> list[str]:
    """Columns of a table."""
    return _read(path).column_names


def account_names(named: Sequence[str] | None, table: Path | None) -> list[str]:
    """Accounts that options name one by one, and those of a table's `account_id`, each once.

    Raises:
        InputError: The table cannot be read, or has a row without an account.
    """
    told = [] if table is None else [account for (account,) in read_rows(table, ["account_id"])]
    if not all(told):
        raise InputError(f"{table}: every row must have an account_id")
    return list(dict.fromkeys([*(named or ()), *map(str, told)]))


def input_digest(path: Path) -> dict[str, Any]:
    """Name, SHA-256 and size of a file, as cases cite it."""
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"name": path.name, "sha256": digest, "bytes": path.stat().st_size}


def _read(path: Path) -> pa.Table:
    from kdguard.readers.handed import arrow_table

    return arrow_table(path, InputError)
