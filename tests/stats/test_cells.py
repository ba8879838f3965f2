from __future__ import annotations

from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdguard.stats.cells import pack_rows, unpack_rows

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40)
CELLS = st.one_of(st.just(0), st.integers(-70, 70), st.integers(-(2**63), 2**63 - 1))


@settings(deadline=None)
@given(rows=hnp.arrays(np.int64, SHAPES, elements=CELLS))
def test_rows_come_back(rows: np.ndarray) -> None:
    assert np.array_equal(unpack_rows(pack_rows(rows), rows.shape[1]), rows)


@settings(deadline=None)
@given(rows=hnp.arrays(np.int64, SHAPES, elements=CELLS), first=st.integers(0, 40), many=st.integers(0, 40))
def test_a_row_is_packed_alike_whatever_lies_beside_it(rows: np.ndarray, first: int, many: int) -> None:
    part = pack_rows(rows).slice(first, many)
    assert part.equals(pack_rows(rows[first : first + many]))
    assert np.array_equal(unpack_rows(part, rows.shape[1]), rows[first : first + many])


def test_sizes_are_those_promised() -> None:
    rows = np.zeros((4, 20), np.int64)
    rows[1, 3], rows[2, :], rows[3, :] = -64, 63, -(2**63)
    assert [len(value or b"") for value in pack_rows(rows).to_pylist()] == [0, 3 + 1, 3 + 20, 3 + 200]


@settings(deadline=None)
@given(data=st.lists(st.binary(max_size=24), min_size=1, max_size=4), width=st.integers(1, 20))
def test_other_bytes_are_refused_or_read_but_never_crash(data: list[bytes], width: int) -> None:
    with suppress(ValueError):
        assert unpack_rows(pa.array(data, pa.binary()), width).shape == (len(data), width)


@pytest.mark.parametrize("data", [b"\x80", b"\x00\x01", b"\x80\xff", b"\xc0\x01", b"\x80\x01\x01"])
def test_damage_is_named(data: bytes) -> None:
    with pytest.raises(ValueError, match="packed rows of 8 cells"):
        unpack_rows(pa.array([data], pa.binary()), 8)
