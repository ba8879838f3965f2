"""Tables that a user hands in: Parquet, CSV or JSON lines, with the columns that must be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kdguard.errors import LineageError


def read_frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table; further columns stay.

    Args:
        path: Parquet, CSV, or JSON lines.
        columns: Must be there.

    Raises:
        LineageError: It cannot be read or lacks a column.
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix in {".jsonl", ".ndjson", ".json"}:
            frame = pd.read_json(path, lines=True, dtype=False)
        else:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise LineageError(
            f"{path}: must be Parquet, CSV or JSON lines with a header, got: {error}"
        ) from error
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
