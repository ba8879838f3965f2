"""Tables that a user hands in beside a log: Parquet, JSON lines or CSV with a header, told by the ending of the name.

Two readings, since CSV says nothing of types: as Arrow, types as they are found; as a data frame, text unless asked
otherwise. Which columns must be there, and what they mean, is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdguard.errors import KdguardError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_JSON_LINES = {".jsonl", ".ndjson", ".json"}
_WANTED = "must be Parquet, JSON lines or CSV with a header"


def arrow_table(path: Path, wrong: type[KdguardError]) -> pa.Table:
    """Read a table, types as they are found; a cell of CSV may hold line ends.

    Args:
        path: The file; what is neither `.parquet` nor `.csv` is JSON lines.
        wrong: Raised where it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path)
        if path.suffix == ".csv":
            lines = pyarrow.csv.ParseOptions(newlines_in_values=True)
            return pyarrow.csv.read_csv(path, parse_options=lines)
        return pyarrow.json.read_json(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise wrong(f"{path}: {_WANTED}, got: {error}") from error


def data_frame(
    path: Path,
    wrong: type[KdguardError],
    *,
    types: Mapping[str, type] | None = None,
    nulls: Sequence[str] = (),
) -> pd.DataFrame:
    """Read a table as a data frame.

    Args:
        path: The file; what is neither `.parquet` nor JSON lines is CSV.
        wrong: Raised where it cannot be read.
        types: Of columns, the others' as they are found; None = CSV is text.
        nulls: With text: what a cell of CSV holds that is null.
    """
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix in _JSON_LINES:
            return pd.read_json(path, lines=True, dtype=False if types is None else dict(types) or True)
        if types is None:
            return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=list(nulls))
        return pd.read_csv(path, dtype=dict(types))
    except (OSError, ValueError) as error:
        raise wrong(f"{path}: {_WANTED}, got: {error}") from error


def must_have(names: Sequence[str], columns: Sequence[str], place: object, wrong: type[KdguardError]) -> None:
    """Say which of the columns are missing.

    Args:
        names: Columns that are there.
        columns: Must be there.
        place: File or table, for the message.
        wrong: Raised where one is missing.
    """
    missing = [name for name in columns if name not in names]
    if missing:
        told = ", ".join(map(str, names)) or "no columns"
        raise wrong(
            f"{place}: must have columns {', '.join(columns)}; missing {', '.join(missing)}, got {told}"
        )
