"""Exchanges survive the way to disk and back, or the file is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kdguard
from kdguard.errors import LogError
from kdguard.exchanges import store
from kdguard.exchanges.schema import EXCHANGES, from_rows

Stream = Callable[[str], Iterable[pa.RecordBatch]]


def rows(start: int, count: int) -> pa.RecordBatch:
    return from_rows(
        {"request_id": f"r{i}", "choice": 0, "prompt": "p" * 10} for i in range(start, start + count)
    )


def test_round_trip_with_row_groups_of_one_size(tmp_path: Path) -> None:
    batches = [rows(i * 7_000, 7_000) for i in range(20)]
    path = tmp_path / "x.parquet"
    assert store.write(batches, path) == 140_000
    assert pa.Table.from_batches(store.read(path)).equals(pa.Table.from_batches(batches))
    metadata = pq.ParquetFile(path).metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [65_536, 65_536, 8_928]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    schema = pq.read_schema(path)
    assert schema.names == EXCHANGES.names
    assert schema.metadata == EXCHANGES.metadata
    assert schema.field("n").metadata == EXCHANGES.field("n").metadata
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.parquet"]


@pytest.mark.parametrize("stream", [store.read, kdguard.read])
def test_what_was_streamed_is_let_go(tmp_path: Path, stream: Stream) -> None:
    """Of a hundred row groups a few are held at most: Arrow's default keeps all until the file is closed."""
    path = tmp_path / "x.parquet"
    group = pa.Table.from_batches(
        [from_rows({"request_id": f"r{i}", "choice": 0, "prompt": "p" * 300} for i in range(2_000))]
    )
    with pq.ParquetWriter(path, EXCHANGES, compression="none", use_dictionary=False) as writer:
        for _ in range(100):
            writer.write_table(group)
    before = pa.total_allocated_bytes()
    held = max(pa.total_allocated_bytes() - before for _ in stream(str(path)))
    assert held < path.stat().st_size / 4


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    store.write([rows(0, 3)], path)

    def broken() -> Iterator[pa.RecordBatch]:
        yield rows(0, 5)
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        store.write(broken(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]
    assert sum(batch.num_rows for batch in store.read(path)) == 3


def test_wrong_files_are_explained(tmp_path: Path) -> None:
    later = pa.Table.from_batches([rows(0, 1)]).replace_schema_metadata({"schema_version": "99"})
    pq.write_table(later, tmp_path / "later.parquet")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no")
    for name, said in (
        ("later", "at most 1, got 99"),
        ("no", "not a Parquet file"),
        ("gone", "not a Parquet"),
    ):
        with pytest.raises(LogError, match=said):
            list(store.read(tmp_path / f"{name}.parquet"))
    with pytest.raises(LogError, match="cannot be written"):
        store.write([rows(0, 1)], tmp_path / "nowhere" / "x.parquet")
