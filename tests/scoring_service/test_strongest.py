"""Exhibits that are remembered are those of the whole log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdguard.scoring.spill import Signals
from kdguard.service.live import parts
from kdguard.service.live.parts import Counts, Part, write_part
from kdguard.service.live.strongest import Strongest
from tests.scoring_service.test_running import signals


def put(folder: Path, number: int, draw: np.random.Generator) -> None:
    """A part with requests of many techniques, some of which have several choices."""
    rows = 200
    names = [f"r{name}" for name in draw.integers(0, 400, rows)]
    table = signals(draw, draw.integers(1, 9, rows).astype(np.uint64), np.arange(rows), names)
    margin = draw.integers(-40, 40, rows).astype(np.int32)
    technique = np.array([hash(name) % 9 for name in names], np.int8)  # one a request, as in a log
    table = table.set_column(table.column_names.index("margin"), "margin", pa.array(margin))
    table = table.set_column(table.column_names.index("technique"), "technique", pa.array(technique))
    write_part(folder, Part(number, number), table.to_batches(), Counts(exchanges=rows))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_remembered_is_what_is_looked_up(tmp_path: Path, seed: int) -> None:
    draw, mine = np.random.default_rng(seed), Strongest(tmp_path)
    for number in range(1, 41):
        put(tmp_path, number, draw)
        if draw.random() < 0.5:
            asked = draw.choice(np.arange(1, 10), int(draw.integers(2, 6)), replace=False).tolist()
            found = mine.exhibits(asked, 5).to_pylist()
            assert found == Signals(tmp_path).exhibits(asked, 5).to_pylist()
            assert found
        if number == 35:
            assert parts.join_small(tmp_path)
    assert mine.exhibits([1, 2], 5).equals(mine.exhibits([1, 2], 5))
    parts.without(tmp_path, 2)
    mine.forget()
    assert set(mine.exhibits([1, 2], 5)["subject"].to_pylist()) == {1}


def test_only_parts_that_came_since_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, mine, read = np.random.default_rng(0), Strongest(tmp_path), []
    for number in range(1, 11):
        put(tmp_path, number, draw)
    mine.exhibits([1, 2, 3], 5)
    put(tmp_path, 11, draw)
    whole = pq.read_table

    def watched(path: Path, **more: Any) -> pa.Table:
        read.append(path.name)
        return whole(path, **more)

    monkeypatch.setattr(pq, "read_table", watched)
    monkeypatch.setattr(Signals, "exhibits", None)  # the whole log may not be asked
    assert mine.exhibits([1, 2, 3], 5).num_rows == 15
    assert read == [Part(11, 11).name]
