from __future__ import annotations

import numpy as np
import pytest

from kdguard.scoring.packing import pack, unpack


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((40_000, 3), np.int32),
        np.eye(300, dtype=np.int64)[:, :300] * -40_000,
        np.arange(90_000, dtype=np.int64).reshape(-1, 3),
        np.full(20_000, 2**63 - 1, np.int64),
        np.arange(9, dtype=np.int8),
        np.linspace(0, 1, 30_000),
    ],
    ids=["empty", "negative", "full", "wide", "small", "floats"],
)
def test_packing_loses_nothing(values: np.ndarray) -> None:
    stored, layout = pack({"a": values})
    back = unpack(stored, layout)["a"]
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)


def test_mostly_empty_rows_are_left_out() -> None:
    values = np.zeros((50_000, 6), np.int32)
    values[::100] = 300
    stored, _ = pack({"a": values})
    assert sum(part.nbytes for part in stored.values()) < values.nbytes / 100
