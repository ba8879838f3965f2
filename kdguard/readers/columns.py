"""Rows of raw JSON values to a record batch of the exchange schema.

Each column is converted whole when all its values already have the plain type and pass the column's test,
which is nearly always; otherwise value by value through `cells`. Both ways give the same values, so a row
never depends on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from kdguard.exchanges.schema import EXCHANGES
from kdguard.readers import cells
from kdguard.readers.rejects import Unfit

pc: Any = pyarrow.compute  # its type stubs refuse much that it takes

# Reasons to stop that mean "the model or a filter would not answer", over all vendors.
FILTERED = pa.array(
    [
        *("content_filter", "content_filtered", "refusal", "guardrail_intervened", "sensitive"),
        *("CONTENT_FILTERED", "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
        "IMAGE_SAFETY",
    ]
)
_ZONED = r"^\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"


@dataclass(frozen=True, slots=True)
class Kind:
    """How one column is read.

    Attributes:
        cell: Reads one value or raises `Unfit`.
        native: Types that may be converted whole.
        sound: Test on a converted column; False sends it through `cell`.
    """

    cell: cells.Cell
    native: frozenset[type]
    sound: Callable[[pa.Array[Any]], bool]


def _within(low: float, high: float) -> Callable[[pa.Array[Any]], bool]:
    def test(array: pa.Array[Any]) -> bool:
        ends = pc.min_max(array).as_py()
        return ends["min"] is None or bool(low <= ends["min"] and ends["max"] <= high)

    return test


def _all_finite(array: pa.Array[Any]) -> bool:
    return pc.all(pc.is_finite(array)).as_py() is not False


def _no_empty(array: pa.Array[Any]) -> bool:
    return pc.any(pc.equal(pc.binary_length(array), 0)).as_py() is not True


def _always(array: pa.Array[Any]) -> bool:
    return True


def _count(low: int = 0, high: int = cells.INT64[1]) -> Kind:
    return Kind(cells.whole(low, high), frozenset({int}), _within(low, high))


def _real(low: float = -math.inf, high: float = math.inf) -> Kind:
    test = _all_finite if low == -math.inf else (lambda a: _all_finite(a) and _within(low, high)(a))
    return Kind(cells.real(low, high), frozenset({int, float}), test)


_TEXT = frozenset({str})
_NONE: frozenset[type] = frozenset()
_ID = Kind(cells.identifier, _TEXT, _no_empty)
_PROSE = Kind(cells.text, _TEXT, _always)
_JSON = Kind(cells.json_text, _TEXT, _no_empty)
_FLAG = Kind(cells.flag, frozenset({bool}), _always)
_INT32 = 2**31 - 1
_IDS = "request_id account_id org_id key_hash session_id client_ip user_agent tls_fingerprint model endpoint"
_IDS += " label finish_reason origin source_format"

KINDS: dict[str, Kind] = {
    **dict.fromkeys(_IDS.split(), _ID),
    **dict.fromkeys(("system", "prompt", "response", "reasoning"), _PROSE),
    **dict.fromkeys(("tools", "tool_calls", "logit_bias"), _JSON),
    **dict.fromkeys(("logprobs", "refused", "truncated", "content_missing"), _FLAG),
    **dict.fromkeys(("choice", "n", "top_logprobs"), _count(0, _INT32)),
    **dict.fromkeys(("max_tokens", "input_tokens", "output_tokens"), _count()),
    **dict.fromkeys(("temperature", "top_p"), _real()),
    "seed": _count(*cells.INT64),
    "status": _count(0, 999),
    "latency_ms": _real(0.0, 1e12),
    "sampling_rate": _real(1e-12, 1.0),
    "time": Kind(cells.moment, _TEXT, _always),
    "messages": Kind(cells.messages, _NONE, _always),
    "label_probs": Kind(cells.label_probs, _NONE, _always),
}
_SCALARS = {name: field.type for name, field in zip(EXCHANGES.names, EXCHANGES, strict=True)}


def build(
    rows: Sequence[dict[str, Any]], source_format: str, *, careful: bool = False
) -> tuple[pa.RecordBatch, dict[int, Unfit]]:
    """Convert rows to a batch, leaving out those that break a rule.

    Args:
        rows: Raw values by exchange column; other keys are ignored.
        source_format: Name of the reader, for rows that do not say.
        careful: Read every value on its own, as a check on the quick way.

    Returns:
        The batch of good rows in order, and the first broken rule of each bad row by its index.
    """
    bad: dict[int, Unfit] = {}
    present = set().union(*rows) if rows else set()
    columns = {
        name: column(name, [row.get(name) for row in rows], bad, careful=careful)
        if name in present
        else pa.nulls(len(rows), _SCALARS[name])
        for name in EXCHANGES.names
    }
    finish(columns, source_format)
    batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=EXCHANGES)
    if bad:
        keep = np.ones(len(rows), dtype=bool)
        keep[list(bad)] = False
        batch = batch.filter(pa.array(keep))
    return batch, bad


def column(name: str, values: list[Any], bad: dict[int, Unfit], *, careful: bool = False) -> pa.Array[Any]:
    """Convert one column; values that break a rule become null and are entered in ``bad`` by position."""
    kind, to = KINDS[name], _SCALARS[name]
    types = set(map(type, values)) - {type(None)}
    if types and types <= kind.native and not careful:
        quick = _quick(name, values, to)
        if quick is not None and sound(name, quick):
            return quick
    read: list[Any] = []
    for position, value in enumerate(values):
        try:
            absent = value is None or (value == "" and kind is not _PROSE)  # exports write nulls as ""
            read.append(None if absent else kind.cell(name, value))
        except Unfit as unfit:
            bad.setdefault(position, unfit)
            read.append(None)
    return pa.array(read, to)


def _quick(name: str, values: list[Any], to: pa.DataType) -> pa.Array[Any] | None:
    try:
        if name != "time":
            array: pa.Array[Any] = pa.array(values, to)
            return array
        words = pa.array(values, pa.string())
        if pc.all(pc.match_substring_regex(words, _ZONED)).as_py() is False:
            return None
        times = words.cast(to)
        return times
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None


def sound(name: str, array: pa.Array[Any]) -> bool:
    """Whether a column of the declared type needs no closer look at its cells."""
    if name == "time":
        return _within(cells.EARLIEST_US, cells.LATEST_US - 1)(array.cast(pa.int64()))
    return KINDS[name].sound(array)


def finish(columns: dict[str, pa.Array[Any]], source_format: str) -> None:
    """Defaults of all formats: first choice, a log, nothing known to be cut, refusals by reason."""
    defaults: dict[str, Any] = {"choice": 0, "origin": "log", "source_format": source_format}
    for name, value in {**defaults, "truncated": False}.items():
        if columns[name].null_count:
            columns[name] = pc.fill_null(columns[name], pa.scalar(value, _SCALARS[name]))
    missing = columns["content_missing"]
    columns["content_missing"] = pc.coalesce(missing, pc.is_null(columns["prompt"]))
    why = columns["finish_reason"]
    by_reason = pc.if_else(pc.is_null(why), pa.scalar(None, pa.bool_()), pc.is_in(why, FILTERED))
    columns["refused"] = pc.coalesce(columns["refused"], by_reason)
    if columns["request_id"].null_count:  # only in rows that are bad for another reason
        columns["request_id"] = pc.fill_null(columns["request_id"], "")
