"""Tables that a user hands in: Parquet, CSV or JSON lines, with the columns that must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from kdguard.errors import LineageError
from kdguard.readers.handed import data_frame, must_have


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
    frame = data_frame(path, LineageError, types=types)
    must_have(list(frame.columns), columns, path, LineageError)
    return frame


def read_numbers(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of numbers and names, types as they are found; further columns stay.

    Args:
        path: Parquet, CSV, or JSON lines.
        columns: Must be there.

    Raises:
        LineageError: It cannot be read or lacks a column.
    """
    return read_frame(path, columns, types={})


def with_ids(frame: pd.DataFrame) -> pd.DataFrame:
    """Ids of models and prompts as text; rows that lack either are left out.

    A column of whole numbers with a gap somewhere is read, or was written, as one of fractions: 12.0 is prompt 12.

    Args:
        frame: Columns `model` and `prompt_id`; further ones stay.
    """
    told = frame.dropna(subset=["model", "prompt_id"])
    told = told.assign(model=told["model"].astype(str), prompt_id=told["prompt_id"].astype(str))
    told = told[(told["model"] != "") & (told["prompt_id"] != "")]
    if told["prompt_id"].str.fullmatch(r"\d+(\.0)?").all():
        told = told.assign(prompt_id=told["prompt_id"].str.removesuffix(".0"))
    return told


def once_each(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Leave out prompts that stand under another id too, where the table tells prompts; an answer counts once.

    Returns:
        The table, and how many prompts were left out.
    """
    if "prompt" not in frame:
        return frame, 0
    ids = frame["prompt_id"].astype(str)  # one table may hold numbers, another the same in text
    told = frame.assign(prompt_id=ids)[frame["prompt"].notna()].drop_duplicates("prompt_id")
    again = told[told["prompt"].astype(str).str.strip().duplicated()]["prompt_id"]
    return frame[~ids.isin(again)], len(again)
