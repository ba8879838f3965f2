from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pytest

from kdguard.exchanges.schema import from_rows
from kdguard.features.embedding import Embedding
from kdguard.features.familiarity import Familiarity
from kdguard.features.signals import Encoder
from kdguard.features.text import Words
from kdguard.readers import Rejects, read
from kdguard.scoring import sorting
from kdguard.scoring.pipeline import encode_into
from kdguard.scoring.sorting import Slice, read_in_order, slices
from kdguard.scoring.spill import ALWAYS, Spill


class Ordinary:
    """A technique model that finds everything ordinary."""

    def margins(self, words: Words) -> npt.NDArray[np.int32]:
        return np.full((len(words.indptr) - 1, 2), -100, np.int32)


ENCODER = Encoder(Ordinary(), Embedding(), Familiarity())


def signals(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return ENCODER.encode(from_rows(rows))


def exchange(account: str | None, request: str, time: int | None, prompt: str = "hello") -> dict[str, Any]:
    return {"request_id": request, "choice": 0, "time": time, "account_id": account, "prompt": prompt}


def in_order(spill: Spill) -> pa.Table:
    spans = slices(spill.folder)
    return pa.Table.from_batches([batch for span in spans for batch in read_in_order(spill.folder, span)])


def test_rows_come_back_by_account_and_time_once_each() -> None:
    rows = [exchange(f"a{i % 3}", f"r{i}", 1000 - i) for i in range(30)]
    with Spill() as spill:
        spill.write(signals(rows[10:]))
        spill.write(signals(rows[:20]))
        spill.seal()
        table = in_order(spill)
    assert sorted(map(str, table["request_id"].to_pylist())) == sorted(f"r{i}" for i in range(30))
    pairs = list(zip(table["subject"].to_pylist(), table["time_us"].to_pylist(), strict=True))
    assert pairs == sorted(pairs)


def test_the_earliest_of_duplicates_is_kept_within_an_account_only() -> None:
    rows = [exchange("a", "r", 5), exchange("a", "r", 3), exchange("b", "r", 9)]
    with Spill() as spill:
        spill.write(signals(rows))
        spill.seal()
        table = in_order(spill)
    assert sorted(zip(table["account_id"].to_pylist(), table["time_us"].to_pylist(), strict=True)) == [
        ("a", 3),
        ("b", 9),
    ]


def test_slices_share_accounts_out() -> None:
    rows = [exchange(f"a{i % 7}", f"r{i}", i) for i in range(70)]
    with Spill() as spill:
        spill.write(signals(rows))
        spill.seal()
        (whole,) = slices(spill.folder)
        spans = slices(spill.folder, fewest=3)
        parts = [
            {name for batch in read_in_order(spill.folder, span) for name in batch["account_id"].to_pylist()}
            for span in spans
        ]
    assert whole == Slice(0, 2**64 - 1, 70)
    assert set().union(*parts) == {f"a{i}" for i in range(7)}
    assert sum(len(part) for part in parts) == 7
    assert sum(span.rows for span in spans) == 70
    assert all(after.first > before.last for before, after in pairwise(spans))


@pytest.mark.parametrize("window", [ALWAYS, (40, 160)])
@pytest.mark.parametrize("timed", [True, False])
def test_an_account_too_large_for_memory_is_cut_where_nobody_sees_it(
    monkeypatch: pytest.MonkeyPatch, window: tuple[int, int], timed: bool
) -> None:
    """Copies of a request lie in one piece or in several, and some pieces end within an account or a moment."""
    rng = np.random.default_rng(0)
    rows = [
        exchange(
            f"a{max(int(rng.integers(8)) - 5, 0)}", f"r{rng.integers(900)}", int(rng.integers(200)), f"p {at}"
        )
        for at in range(1_500)
    ]
    if not timed:
        rows = [row | {"time": None} for row in rows]
        window = ALWAYS
    with Spill() as spill:
        spill.write(signals(rows))
        spill.seal()
        (span,) = slices(spill.folder)
        whole = pa.Table.from_batches(read_in_order(spill.folder, span, window=window))
        monkeypatch.setattr(sorting, "_ROWS_A_MB", 1)
        batches = list(read_in_order(spill.folder, span, window=window))
    assert len(batches) > 10
    assert pa.Table.from_batches(batches).equals(whole)
    assert 0 < len(whole) < len(rows)


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
        assert slices(spill.folder) == []


def test_workers_change_neither_signals_nor_the_list_of_rejects(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    told = [exchange(f"a{i % 5}", f"r{i}", i) | {"time": 1768473900 + i} for i in range(40)]
    told[7] |= {"time": "soon"}
    told[21] |= {"choice": -1}
    log.write_bytes(b"\n".join([*map(orjson.dumps, told[:30]), b"{", *map(orjson.dumps, told[30:])]))
    found = []
    for workers in (1, 2, 3):
        listing = tmp_path / f"rejects-{workers}.jsonl"
        with Spill() as spill, Rejects(listing) as rejects:
            encode_into(spill, read([log], rejects=rejects, batch_rows=8), ENCODER, workers)
            found.append((in_order(spill), listing.read_bytes()))
    assert [orjson.loads(line)["line"] for line in found[0][1].splitlines()] == [8, 22, 31]
    assert found[0] == found[1] == found[2]
