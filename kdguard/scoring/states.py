"""Detector state at rest: one Arrow row an account, as small as the account, for disks, wires and other processes.

In memory state is dense, so that folding is a handful of numpy reductions; `scan.follow` holds no more of it than one
chunk of rows has accounts with a checkpoint. Whoever keeps state longer keeps it in this form: a column of bytes a
detector, each row packed by `kdguard.stats.cells`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.errors import StateError
from kdguard.scan import Detector, State
from kdguard.stats.cells import pack_rows, unpack_rows

_BLOCK_ACCOUNTS = 4_096
_OFFSET_BYTES = 4


def to_arrow(detectors: Sequence[Detector], states: Sequence[State]) -> pa.RecordBatch:
    """Pack the states of m accounts.

    Args:
        detectors: Whose states these are.
        states: One a detector, all of the same accounts; ten million at most, since `binary` ends at 2 GiB.

    Returns:
        m rows: `subject`, and a column of bytes named after each detector; equal states give equal bytes.

    Raises:
        ValueError: The states are not of the same accounts.
    """
    subjects = states[0].subjects
    if any(not np.array_equal(state.subjects, subjects) for state in states):
        raise ValueError("states must be of the same accounts to lie in one batch")
    packed = [_pack(detector, state) for detector, state in zip(detectors, states, strict=True)]
    return pa.RecordBatch.from_arrays([pa.array(subjects), *packed], schema=schema(detectors))


def from_arrow(detectors: Sequence[Detector], batch: pa.RecordBatch) -> tuple[State, ...]:
    """Undo `to_arrow`, of the whole batch or of a slice of it.

    Raises:
        StateError: The batch was kept by other detectors or versions, or is damaged.
    """
    expected = schema(detectors)
    if not batch.schema.equals(expected, check_metadata=True):
        raise StateError(f"state must be of {_describe(expected)}, got {_describe(batch.schema)}; fold again")
    subjects = batch.column("subject").to_numpy()
    try:
        return tuple(_unpack(detector, subjects, batch.column(detector.name)) for detector in detectors)
    except ValueError as error:
        raise StateError(f"the state is damaged: {error}; fold again") from error


def schema(detectors: Sequence[Detector]) -> pa.Schema:
    """Return the schema of these detectors' states; it names their versions and columns."""
    fields: list[pa.Field[Any]] = [pa.field("subject", pa.uint64(), nullable=False)]
    for detector in detectors:
        layout = " ".join(f"{item.name}:{item.kind}x{item.width}" for item in detector.columns)
        about = {"version": detector.version, "columns": layout}
        fields.append(pa.field(detector.name, pa.binary(), nullable=False, metadata=about))
    return pa.schema(fields)


def account_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Size of each account's row in bytes, its key and Arrow's offsets included, shape (m,)."""
    packed: list[Any] = batch.columns[1:]
    lengths = [pc.binary_length(column).to_numpy() for column in packed]
    return batch.column("subject").type.byte_width + _OFFSET_BYTES * len(packed) + sum(lengths)


def _pack(detector: Detector, state: State) -> pa.Array[Any]:
    parts = []
    for first in range(0, max(len(state), 1), _BLOCK_ACCOUNTS):
        block = [state.columns[item.name][first : first + _BLOCK_ACCOUNTS] for item in detector.columns]
        # The uppermost of uint64 become negative here, and return as they were.
        parts.append(pack_rows(np.concatenate([values.astype(np.int64) for values in block], axis=1)))
    return pa.concat_arrays(parts)


def _unpack(detector: Detector, subjects: npt.NDArray[np.uint64], packed: pa.Array[Any]) -> State:
    widths = [item.width for item in detector.columns]
    columns = {item.name: np.empty((len(packed), item.width), item.kind) for item in detector.columns}
    for first in range(0, len(packed), _BLOCK_ACCOUNTS):
        rows = unpack_rows(packed.slice(first, _BLOCK_ACCOUNTS), sum(widths))
        for item, values in zip(
            detector.columns, np.split(rows, np.cumsum(widths)[:-1], axis=1), strict=True
        ):
            columns[item.name][first : first + len(rows)] = values.astype(item.kind)
    return State(subjects, columns)


def _describe(schema: pa.Schema) -> str:
    about = [(field.name, (field.metadata or {}).get(b"version", b"?").decode()) for field in schema]
    return ", ".join(f"{name} {version}" for name, version in about if name != "subject")
