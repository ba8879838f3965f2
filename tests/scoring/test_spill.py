from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.exchanges.schema import from_rows
from kdguard.features.embedding import Embedding
from kdguard.features.familiarity import Familiarity
from kdguard.features.signals import Encoder
from kdguard.features.text import Words
from kdguard.scoring.spill import Spill, read_in_order


class Ordinary:
    """A technique model that finds everything ordinary."""

    def margins(self, words: Words) -> npt.NDArray[np.int32]:
        return np.full((len(words.indptr) - 1, 2), -100, np.int32)


ENCODER = Encoder(Ordinary(), Embedding(), Familiarity())


def signals(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return ENCODER.encode(from_rows(rows))


def exchange(account: str | None, request: str, time: int, prompt: str = "hello") -> dict[str, Any]:
    return {"request_id": request, "choice": 0, "time": time, "account_id": account, "prompt": prompt}


def test_rows_come_back_by_account_and_time_once_each() -> None:
    rows = [exchange(f"a{i % 3}", f"r{i}", 1000 - i) for i in range(30)]
    with Spill() as spill:
        spill.write(signals(rows[10:]))
        spill.write(signals(rows[:20]))
        spill.seal()
        table = pa.Table.from_batches(list(read_in_order(spill.folder)))
    assert sorted(map(str, table["request_id"].to_pylist())) == sorted(f"r{i}" for i in range(30))
    pairs = list(zip(table["subject"].to_pylist(), table["time_us"].to_pylist(), strict=True))
    assert pairs == sorted(pairs)


def test_the_earliest_of_duplicates_is_kept_within_an_account_only() -> None:
    rows = [exchange("a", "r", 5), exchange("a", "r", 3), exchange("b", "r", 9)]
    with Spill() as spill:
        spill.write(signals(rows))
        spill.seal()
        table = pa.Table.from_batches(list(read_in_order(spill.folder)))
    assert sorted(zip(table["account_id"].to_pylist(), table["time_us"].to_pylist(), strict=True)) == [
        ("a", 3),
        ("b", 9),
    ]


def test_partitions_share_accounts_out() -> None:
    rows = [exchange(f"a{i % 7}", f"r{i}", i) for i in range(70)]
    with Spill() as spill:
        spill.write(signals(rows))
        spill.seal()
        parts = [
            {
                name
                for batch in read_in_order(spill.folder, partition=at, partitions=3)
                for name in batch["account_id"].to_pylist()
            }
            for at in range(3)
        ]
    assert set().union(*parts) == {f"a{i}" for i in range(7)}
    assert sum(len(part) for part in parts) == 7


def test_rows_without_an_account_are_dropped_and_no_prompt_reaches_the_disk() -> None:
    with Spill() as spill:
        spill.write(signals([exchange(None, "r1", 1), exchange("a", "r2", 2, "a very secret prompt")]))
        spill.seal()
        content = b"".join(part.read_bytes() for part in spill.folder.iterdir())
        folder = spill.folder
    assert b"secret" not in content
    assert not folder.exists()


def test_an_empty_spill_reads_as_nothing() -> None:
    with Spill() as spill:
        assert list(read_in_order(spill.folder)) == []
