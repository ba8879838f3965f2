"""Tables that a user hands in: Parquet, CSV or JSON lines, with the columns that must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from kdguard.errors import LineageError


def read_frame(
    path: Path, columns: Sequence[str], *, types: Mapping[str, type] | None = None
) -> pd.DataFrame:
    """Read a table; further columns stay.

    Args:
        path: Parquet, CSV, or JSON lines.
        columns: Must be there.
        types: Of columns, the others' as they are found; None = CSV is text, and nothing in it is null.

    Raises:
        LineageError: It cannot be read or lacks a column.
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix in {".jsonl", ".ndjson", ".json"}:
            frame = pd.read_json(path, lines=True, dtype=False if types is None else dict(types))
        elif types is None:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        else:
            frame = pd.read_csv(path, dtype=dict(types))
    except (OSError, ValueError) as error:
        raise LineageError(
            f"{path}: must be Parquet, CSV or JSON lines with a header, got: {error}"
        ) from error
    return _having(frame, columns, path)


def read_numbers(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of numbers and names, types as they are found; further columns stay.

    Args:
        path: Parquet or CSV.
        columns: Must be there.

    Raises:
        LineageError: It cannot be read or lacks a column.
    """
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise LineageError(f"{path}: must be Parquet or CSV, got: {error}") from error
    return _having(frame, columns, path)


def _having(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        told = ", ".join(map(str, frame.columns)) or "no columns"
        raise LineageError(
            f"{path}: must have columns {', '.join(columns)}; missing {', '.join(missing)}, got {told}"
        )
    return frame


def once_each(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Leave out prompts that stand under another id too, where the table tells prompts; an answer counts once.

    Returns:
        The table, and how many prompts were left out.
    """
    if "prompt" not in frame:
        return frame, 0
    told = frame[frame["prompt"].notna()].drop_duplicates("prompt_id")
    again = told[told["prompt"].astype(str).str.strip().duplicated()]["prompt_id"]
    return frame[~frame["prompt_id"].isin(again)], len(again)
