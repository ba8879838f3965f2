"""Tables handed in beside a log: the same rows whatever they are written in, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kdguard.errors import AccountsError, LineageError
from kdguard.readers.handed import arrow_table, data_frame, must_have

FRAME = pd.DataFrame({"name": ["one", "two\nlines"], "number": ["007", "8"]})


@pytest.fixture(params=["parquet", "csv", "jsonl"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    place = tmp_path / f"table.{request.param}"
    if request.param == "parquet":
        FRAME.to_parquet(place)
    elif request.param == "csv":
        FRAME.to_csv(place, index=False)
    else:
        FRAME.to_json(place, orient="records", lines=True)
    return place


def test_the_same_text_whatever_it_is_written_in(path: Path) -> None:
    assert data_frame(path, LineageError).equals(FRAME)
    table = arrow_table(path, LineageError)
    assert table.column_names == ["name", "number"]
    assert table["name"].to_pylist() == ["one", "two\nlines"]


def test_types_and_nulls_of_csv_are_the_callers(tmp_path: Path) -> None:
    place = tmp_path / "table.csv"
    place.write_text("name,number\nNA,1\n,2\n")
    assert data_frame(place, AccountsError)["name"].tolist() == ["NA", ""]
    assert data_frame(place, AccountsError, nulls=[""])["name"].isna().tolist() == [False, True]
    assert data_frame(place, AccountsError, types={"name": str})["number"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "name", ["nothing.csv", "nothing.parquet", "nothing.jsonl", "broken.parquet", "empty.csv"]
)
def test_what_cannot_be_read_is_named_by_the_callers_error(tmp_path: Path, name: str) -> None:
    if not name.startswith("nothing"):
        (tmp_path / name).write_text("" if name.startswith("empty") else "no table")
    for read in (arrow_table, data_frame):
        with pytest.raises(AccountsError, match=rf"{name}: must be Parquet, JSON lines or CSV with a header"):
            read(tmp_path / name, AccountsError)


def test_missing_columns_are_named_beside_those_that_are_there() -> None:
    must_have(["a", "b"], ["a"], "t.csv", LineageError)
    with pytest.raises(LineageError, match="must have columns a, c; missing c, got a, b"):
        must_have(["a", "b"], ["a", "c"], "t.csv", LineageError)
