"""Integer arrays with mostly empty rows, and integers wider than they need to be, made small for storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
Layout = dict[str, list[Any]]

_ROWS = "#rows"
_WORTH_BYTES = 65_536


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Arrays, Layout]:
    """Shrink arrays without loss.

    Integer arrays over 64 KiB are stored in the narrowest type that holds them, and without their empty rows where
    these are the majority.

    Returns:
        The arrays to store, and a layout that `unpack` needs: dtype and number of rows of each packed array.
    """
    stored: Arrays = {}
    layout: Layout = {}
    for name, values in arrays.items():
        if values.nbytes < _WORTH_BYTES or not np.issubdtype(values.dtype, np.integer):
            stored[name] = values
            continue
        layout[name] = [values.dtype.name, len(values)]
        kept = values
        full = np.flatnonzero(values.reshape(len(values), -1).any(axis=1))
        if len(full) < len(values) / 2:
            stored[name + _ROWS] = full.astype(np.uint32)
            kept = values[full]
        stored[name] = kept.astype(_narrowest(kept))
    return stored, layout


def unpack(stored: Mapping[str, npt.NDArray[Any]], layout: Mapping[str, list[Any]]) -> Arrays:
    """Undo `pack`."""
    arrays: Arrays = {}
    for name, values in stored.items():
        if name.endswith(_ROWS):
            continue
        if name in layout:
            dtype, length = layout[name]
            values = values.astype(dtype)
            rows = stored.get(name + _ROWS)
            if rows is not None:
                whole = np.zeros((length, *values.shape[1:]), dtype)
                whole[rows] = values
                values = whole
        arrays[name] = values
    return arrays


def _narrowest(values: npt.NDArray[Any]) -> npt.DTypeLike:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return values.dtype
