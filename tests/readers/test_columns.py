"""The quick way and the careful way of building columns give the same batch, whatever the cells hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.exchanges.schema import EXCHANGES
from kdguard.readers import Rejects, read
from kdguard.readers.columns import KINDS, build

SOUND: dict[str, Any] = {
    "time": "2026-01-15T10:45:00Z",
    "messages": [{"role": "user", "content": "x"}],
    "label_probs": [{"label": "a", "prob": 0.5}],
}
ODD = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2**31, 2**63, 1.0, 1.5, 1e300, 1768473900),
        *("", "x", "12", "nan", "true", "\ud800", [], {}, ["x"], {"a": 1}),
        *("2026-01-15", "2026-01-15T10:45:00", "2026-01-15T10:45:00.1234567Z", "2026-01-15T10:45:00z"),
        *("2026-02-30T10:45:00Z", "2026-01-15T24:00:00Z", "2026-01-15T10:45:60Z", "0000-01-15T10:45:00Z"),
        *("2026-01-15T10:45:00+14:00", "2026-01-15 10:45:00-00:30", "1999-12-31T23:59:59Z"),
    ]
)


def plain(name: str) -> Any:
    kind = KINDS[name]
    if name in SOUND:
        return SOUND[name]
    return {str: "text", bool: True, int: 3, float: 1}[next(iter(sorted(kind.native, key=str)))]


def test_every_column_is_known() -> None:
    assert set(KINDS) == set(EXCHANGES.names)


@pytest.mark.parametrize("name", EXCHANGES.names)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_quick_and_careful_agree(name: str, data: st.DataObject) -> None:
    cells = st.one_of(st.just(plain(name)), st.just(plain(name)), ODD)
    values = data.draw(st.lists(cells, min_size=1, max_size=4))
    rows = [{"request_id": "r", "prompt": "p"} | {name: value} for value in values]
    quick, bad = build(rows, "jsonl")
    slow, worse = build(rows, "jsonl", careful=True)
    assert {at: str(unfit) for at, unfit in bad.items()} == {at: str(unfit) for at, unfit in worse.items()}
    assert quick.to_pylist() == slow.to_pylist()
    assert quick.schema.equals(EXCHANGES, check_metadata=True)
    for position, row in enumerate(rows):  # and a row never depends on its neighbours
        alone, why = build([row], "jsonl")
        assert bool(why) == (position in bad)
        if not why:
            at = position - sum(index < position for index in bad)
            assert alone.to_pylist()[0] == quick.slice(at, 1).to_pylist()[0]


def test_one_bad_line_is_one_reject_even_with_many_choices() -> None:
    rows: list[dict[str, Any]] = [{"request_id": "r", "choice": i, "input_tokens": -1} for i in range(3)]
    batch, bad = build([*rows, {"request_id": "s"}], "x")
    assert batch.num_rows == 1
    assert sorted(bad) == [0, 1, 2]


def test_numbers_keep_their_value() -> None:
    row = orjson.loads('{"request_id": 98765432101234567, "seed": 9007199254740993, "temperature": 0.1}')
    batch, _ = build([row, {"request_id": "b", "seed": 1.0}], "x")
    assert batch.column("request_id")[0].as_py() == "98765432101234567"
    assert batch.column("seed").to_pylist() == [9007199254740993, 1]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_parquet_of_other_writers(tmp_path: Path, unit: Any, zone: str | None) -> None:
    """Dictionaries, long and short texts, times of every unit and zone mean what they say."""
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    table = pa.table(
        {
            "request_id": pa.array([7, 8]),
            "account_id": pa.array(["a", "b"]).dictionary_encode(),
            "prompt": pa.array(["x", None], pa.large_string()),
            "response": pa.array(["y", "z"], pa.string_view()),
            "time": pa.array([1_788_220_800 * scale, None], pa.timestamp(unit, tz=zone)),
            "input_tokens": pa.array([3, -3], pa.int16()),
        }
    )
    path = tmp_path / "other.parquet"
    pq.write_table(table, path)
    rejects = Rejects()
    (row,) = pa.Table.from_batches(list(read([path], rejects=rejects))).to_pylist()
    assert (row["request_id"], row["account_id"], row["prompt"], row["response"]) == ("7", "a", "x", "y")
    assert row["time"].isoformat() == "2026-09-01T00:00:00+00:00"
    assert rejects.messages() == [
        f"{path}:2: 'input_tokens' must be a whole number in [0, 9223372036854775807], got -3"
    ]
