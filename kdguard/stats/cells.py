"""Rows of integers that are mostly zero or small, packed without loss: each row on its own, whatever lies beside it.

A row is a bitmap of its non-zero cells, then those cells as variable-length integers, seven bits a byte, small
negative numbers as small as positive ones (Protocol Buffers' zigzag varints). An empty row takes no byte.

Decision, 2026-11-23. Arrow's list columns of narrow integers are as wide as the widest row, so one heavy account
would make every light one pay; a varint's width is its own. Given up: other Arrow readers see bytes, not numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_BITS = 7
_MORE = 1 << _BITS
_LONGEST = 10


def pack_rows(rows: Ints) -> pa.Array[Any]:
    """Pack rows of shape (m, w) into m byte strings, each empty or of ceil(w / 8) + 1 to ceil(w / 8) + 10 w bytes."""
    full = rows != 0
    head = np.where(full.any(axis=1), _bitmap_bytes(rows), 0)
    cells = rows[full]
    folded = (cells.view(np.uint64) << np.uint64(1)) ^ (cells >> np.int64(63)).view(np.uint64)
    size = _varint_bytes(folded)
    body = np.bincount(np.nonzero(full)[0], size, minlength=len(rows)).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(head + body)))
    data = np.zeros(offsets[-1], np.uint8)
    filled = np.flatnonzero(head)
    data[_bitmap_places(offsets[filled], rows)] = np.packbits(full[filled], axis=1)
    # Cells follow one another, apart from the bitmap before each row.
    at = np.cumsum(size) - size + np.repeat(np.cumsum(head), full.sum(axis=1))
    while len(at):
        more = folded >= _MORE
        data[at] = (folded & np.uint64(_MORE - 1)) | np.where(more, np.uint64(_MORE), np.uint64(0))
        at, folded = at[more] + 1, folded[more] >> np.uint64(_BITS)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32).tobytes()), pa.py_buffer(data.tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(rows), buffers)


def unpack_rows(packed: pa.Array[Any], width: int) -> Ints:
    """Undo `pack_rows`.

    Raises:
        ValueError: These are not packed rows of this width.
    """
    rows = np.zeros((len(packed), width), np.int64)
    offsets, data = _buffers(packed)
    filled = np.flatnonzero(np.diff(offsets))
    if not len(filled):
        return rows
    if (np.diff(offsets)[filled] <= _bitmap_bytes(rows)).any():
        raise _damaged(width)
    places = _bitmap_places(offsets[filled], rows)
    full = np.unpackbits(data[places], axis=1, count=width).astype(np.bool_)
    is_last = data < _MORE
    is_last[places] = False
    if not (
        is_last[offsets[filled + 1] - 1].all()
        and np.array_equal(np.add.reduceat(is_last, offsets[filled], dtype=np.int64), full.sum(axis=1))
    ):
        raise _damaged(width)
    is_body = np.ones(len(data), np.bool_)
    is_body[places] = False
    rows[np.repeat(filled, full.sum(axis=1)), np.nonzero(full)[1]] = _cells(data[is_body], width)
    return rows


def _cells(body: Bytes, width: int) -> Ints:
    """Read varints that follow one another."""
    ends = np.flatnonzero(body < _MORE) + 1
    at = np.concatenate(([0], ends[:-1]))
    if (ends - at).max() > _LONGEST:
        raise _damaged(width)
    folded = np.zeros(len(ends), np.uint64)
    unread = np.arange(len(ends))
    for place in range(_LONGEST):
        byte = body[at]
        folded[unread] |= (byte & (_MORE - 1)).astype(np.uint64) << np.uint64(_BITS * place)
        more = byte >= _MORE
        unread, at = unread[more], at[more] + 1
    return (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)


def _damaged(width: int) -> ValueError:
    return ValueError(f"must be packed rows of {width} cells, got bytes that do not fit")


def _bitmap_bytes(rows: Ints) -> int:
    return -(-rows.shape[1] // 8)


def _bitmap_places(starts: Ints, rows: Ints) -> Ints:
    """Where the bitmaps of rows that start at `starts` lie, shape (len(starts), bytes of a bitmap)."""
    return starts[:, None] + np.arange(_bitmap_bytes(rows))


def _varint_bytes(folded: npt.NDArray[np.uint64]) -> Ints:
    size = np.ones(len(folded), np.int64)
    for place in range(1, _LONGEST):
        longer = folded >> np.uint64(_BITS * place) != 0
        if not longer.any():
            break
        size += longer
    return size


def _buffers(packed: pa.Array[Any]) -> tuple[Ints, Bytes]:
    """Offsets from 0, and the bytes between the first and the last."""
    if not len(packed):
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    _, offsets, data = packed.buffers()
    narrow = np.frombuffer(memoryview(offsets or b""), np.int32, len(packed) + 1, 4 * packed.offset)
    at = narrow.astype(np.int64)
    return at - at[0], np.frombuffer(memoryview(data or b""), np.uint8)[at[0] : at[-1]]
