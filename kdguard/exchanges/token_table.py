"""Token traces to rows of the `TOKENS` table and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from kdguard.errors import TranscriptError
from kdguard.exchanges.tokens import TOKENS, UNKNOWN_ID, TokenTrace

pc: Any = pyarrow.compute  # its type stubs refuse much that it takes
KeyedTrace = tuple[str, int, TokenTrace]


def traces_to_table(traces: Iterable[KeyedTrace]) -> pa.Table:
    """Lay traces out as one row a token.

    Args:
        traces: `(request_id, choice, trace)`, each key once.

    Returns:
        A table of the schema `TOKENS`, in the order given. Pads are left out, so its lists may be shorter than k.
    """
    return pa.Table.from_batches([_batch(*keyed) for keyed in traces], TOKENS)


def table_to_traces(table: pa.Table) -> Iterator[KeyedTrace]:
    """Gather the rows of each choice.

    Args:
        table: Rows of the schema `TOKENS` in any order.

    Yields:
        `(request_id, choice, trace)` in the order of these keys; k is the longest list of the choice.

    Raises:
        TranscriptError: A column is missing or of another type, a position is missing or there twice, or lists
            of one position differ in length.
    """
    try:
        table = table.select(TOKENS.names).cast(TOKENS)
    except (KeyError, pa.ArrowException) as error:
        raise TranscriptError(
            f"tokens: a table must have the columns {', '.join(TOKENS.names)}: {error}"
        ) from error
    table = table.sort_by([("request_id", "ascending"), ("choice", "ascending"), ("position", "ascending")])
    for start, end in pairwise([*_starts(table), table.num_rows]):
        rows = table.slice(start, end - start)
        yield rows["request_id"][0].as_py(), rows["choice"][0].as_py(), _trace(rows)


def _starts(table: pa.Table) -> list[int]:
    """First row of each choice in a sorted table, once every position is known to be there."""
    names = table.column("request_id").combine_chunks().dictionary_encode().indices.to_numpy()
    choices = table.column("choice").to_numpy()
    places = table.column("position").to_numpy()
    if not len(places):
        return []
    begins = np.r_[True, (names[1:] != names[:-1]) | (choices[1:] != choices[:-1])]
    starts = np.flatnonzero(begins)
    wrong = np.flatnonzero(places != np.arange(len(places)) - starts[np.cumsum(begins) - 1])
    if len(wrong):
        row = table.select(["request_id", "choice", "position"]).slice(wrong[0], 1).to_pylist()[0]
        raise TranscriptError(
            f"tokens: positions of a choice must run from 0 without a gap or repeat, got {row}"
        )
    return starts.tolist()


def _batch(request_id: str, choice: int, trace: TokenTrace) -> pa.RecordBatch:
    t, widths = len(trace), trace.widths
    offsets = pa.array(np.concatenate(([0], np.cumsum(widths))), pa.int32())
    kept = np.arange(trace.alternatives) < widths[:, None]
    columns: dict[str, Any] = {
        "request_id": pa.array([request_id] * t, pa.string()),
        "choice": pa.array(np.full(t, choice, np.int32)),
        "position": pa.array(np.arange(t, dtype=np.int32)),
        "token_bytes": pa.array(trace.token_bytes, pa.binary()),
    }
    for name in ("logprob", "token_id", "tail_mass"):
        value = getattr(trace, name)
        columns[name] = None if value is None else pa.array(value)
    for name in ("top_ids", "top_logprobs", "sampled_counts"):
        value = getattr(trace, name)
        columns[name] = None if value is None else pa.ListArray.from_arrays(offsets, pa.array(value[kept]))
    if trace.top_bytes is not None:
        flat = [piece for row, width in zip(trace.top_bytes, widths, strict=True) for piece in row[:width]]
        columns["top_bytes"] = pa.ListArray.from_arrays(offsets, pa.array(flat, pa.binary()))
    arrays = [
        columns[field.name] if columns.get(field.name) is not None else pa.nulls(t, field.type)
        for field in TOKENS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=TOKENS)


def _trace(rows: pa.Table) -> TokenTrace:
    values: dict[str, Any] = {}
    for name in ("logprob", "token_id", "tail_mass"):
        column = rows.column(name)
        if column.null_count not in (0, len(rows)):
            raise TranscriptError(f"tokens: {name} must be known for all tokens of a choice or for none")
        values[name] = None if column.null_count else column.to_numpy()
    pieces: list[Any] = rows.column("token_bytes").to_pylist()
    lists = {name: rows.column(name) for name in ("top_ids", "top_bytes", "top_logprobs", "sampled_counts")}
    given = {name: column for name, column in lists.items() if column.null_count < len(rows)}
    lengths = [pc.fill_null(pc.list_value_length(column), 0).to_numpy() for column in given.values()]
    if any(not np.array_equal(length, lengths[0]) for length in lengths):
        raise TranscriptError(f"tokens: {', '.join(given)} must be of equal length at each position")
    for name, column in given.items():
        values[name] = _padded(column.to_pylist(), int(lengths[0].max()), name)
    return TokenTrace(token_bytes=tuple(pieces), **values)


def _padded(rows: list[list[Any] | None], k: int, name: str) -> Any:
    if name == "top_bytes":
        return tuple((*(row or ()), *[b""] * (k - len(row or ()))) for row in rows)
    pad, kind = _PADS[name]
    out: npt.NDArray[Any] = np.full((len(rows), k), pad, kind)
    for place, row in enumerate(rows):
        out[place, : len(row or ())] = row or ()
    return out


_PADS: dict[str, tuple[Any, Any]] = {
    "top_ids": (UNKNOWN_ID, np.int32),
    "top_logprobs": (-np.inf, np.float32),
    "sampled_counts": (0, np.int32),
}
