"""Token traces to compact rows and back: one row a choice, alternatives packed.

`PACKED` is the schema of `tokens.parquet`. Ids take ceil(log2 V) bits, log-probabilities and tail masses 16, and
counts as many as the largest needs; tokens stay bytes. Prior art: DistillKit packs ids to ceil(log2 V) bits and
fits the log-probabilities by a polynomial; halves are simpler and, at 20 alternatives, as small.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from kdguard.distill.transcripts.bits import pack_halves, pack_integers, unpack_halves, unpack_integers
from kdguard.errors import TranscriptError
from kdguard.exchanges.tokens import UNKNOWN_ID, TokenTrace

CODEC_VERSION: Final = 1
_LEAST: Final = {"token_id": -1, "top_ids": -1, "sampled_counts": 1}


def _field(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = True) -> pa.Field[Any]:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


PACKED: pa.Schema = pa.schema(
    [
        _field("request_id", pa.string(), "as in the exchanges", nullable=False),
        _field("choice", pa.int32(), "as in the exchanges", nullable=False),
        _field("positions", pa.int32(), "t, the tokens of the choice", nullable=False),
        _field("alternatives", pa.int32(), "k, the most alternatives at a position", nullable=False),
        _field("token_bytes", pa.list_(pa.binary()), "bytes of each token", nullable=False),
        _field(
            "logprob", pa.binary(), "log-probabilities: float16, low bytes then high bytes", nullable=False
        ),
        _field("token_id", pa.binary(), "ids + 1 in bit planes, lowest bit first"),
        _field("token_id_bits", pa.uint8(), "planes of token_id"),
        _field("widths", pa.binary(), "alternatives at each position in bit planes; null = k everywhere"),
        _field("widths_bits", pa.uint8(), "planes of widths"),
        _field("top_ids", pa.binary(), "ids + 1 of all alternatives in bit planes; 0 = not known"),
        _field("top_ids_bits", pa.uint8(), "planes of top_ids"),
        _field(
            "top_ids_rise", pa.bool_(), "ids rise within each position; all but its first are differences"
        ),
        _field("top_bytes", pa.list_(pa.binary()), "bytes of all alternatives"),
        _field(
            "top_logprobs", pa.binary(), "float16 patterns, differences within a position, low bytes first"
        ),
        _field("tail_mass", pa.binary(), "float16, low bytes then high bytes"),
        _field("sampled_counts", pa.binary(), "counts - 1 of all alternatives in bit planes"),
        _field("sampled_counts_bits", pa.uint8(), "planes of sampled_counts"),
    ],
    metadata={"codec_version": str(CODEC_VERSION)},
)


def pack(request_id: str, choice: int, trace: TokenTrace) -> dict[str, Any]:
    """Pack one trace into a row of `PACKED`.

    Log-probabilities and tail masses are rounded to float16 (see `bits.pack_halves`); all else is kept exactly.
    """
    widths = trace.widths
    kept = np.arange(trace.alternatives) < widths[:, None]
    row: dict[str, Any] = {
        "request_id": request_id,
        "choice": choice,
        "positions": len(trace),
        "alternatives": trace.alternatives,
        "token_bytes": list(trace.token_bytes),
        "logprob": pack_halves(trace.logprob),
    }
    integers = {"token_id": None if trace.token_id is None else trace.token_id + 1}
    integers["widths"] = None if kept.all() else widths
    if trace.top_ids is not None:
        integers["top_ids"], row["top_ids_rise"] = _differences(trace.top_ids[kept] + 1, widths)
    integers["sampled_counts"] = None if trace.sampled_counts is None else trace.sampled_counts[kept] - 1
    for name, values in integers.items():
        if values is not None:
            row[name], row[f"{name}_bits"] = pack_integers(_non_negative(name, values))
    if trace.top_bytes is not None:
        row["top_bytes"] = [
            piece for told, width in zip(trace.top_bytes, widths, strict=True) for piece in told[:width]
        ]
    if trace.top_logprobs is not None:
        row["top_logprobs"] = pack_halves(trace.top_logprobs[kept], widths)
    if trace.tail_mass is not None:
        row["tail_mass"] = pack_halves(trace.tail_mass)
    return row


def unpack(row: dict[str, Any]) -> TokenTrace:
    """Undo `pack`.

    Raises:
        TranscriptError: The row is damaged.
    """
    try:
        return _unpacked(row)
    except (ValueError, TypeError, OverflowError) as error:
        place = f"{row.get('request_id')}, choice {row.get('choice')}"
        raise TranscriptError(f"tokens of {place}: the packed row is damaged: {error}") from error


def _unpacked(row: dict[str, Any]) -> TokenTrace:
    t, k = row["positions"], row["alternatives"]
    widths = _integers(row, "widths", t)
    widths = np.full(t, k, np.int32) if widths is None else widths
    kept = np.arange(k) < widths[:, None]
    total = int(kept.sum())
    values: dict[str, Any] = {"token_id": _plus(-1, _integers(row, "token_id", t))}
    ids = _integers(row, "top_ids", total)
    told = {
        "top_ids": (_plus(-1, _summed(ids, row["top_ids_rise"], widths)), UNKNOWN_ID),
        "sampled_counts": (_plus(1, _integers(row, "sampled_counts", total)), 0),
        "top_logprobs": (_halves(row, "top_logprobs", widths), -np.inf),
    }
    for name, (flat, pad) in told.items():
        if flat is not None:
            values[name] = np.full((t, k), pad, flat.dtype)
            values[name][kept] = flat
    if row["top_bytes"] is not None:
        flat_bytes = iter(row["top_bytes"])
        values["top_bytes"] = tuple(
            tuple(next(flat_bytes) if place < width else b"" for place in range(k)) for width in widths
        )
    return TokenTrace(
        token_bytes=tuple(row["token_bytes"]),
        logprob=unpack_halves(row["logprob"]),
        tail_mass=_halves(row, "tail_mass", None),
        **values,
    )


def _integers(row: dict[str, Any], name: str, n: int) -> Any:
    return None if row[name] is None else unpack_integers(row[name], row[f"{name}_bits"], n)


def _halves(row: dict[str, Any], name: str, widths: Any) -> Any:
    return None if row[name] is None else unpack_halves(row[name], widths)


def _differences(codes: Any, widths: Any) -> tuple[Any, bool]:
    """Differences within each position if all are positive, as those of sorted draws are; else the codes."""
    first = np.zeros(len(codes), np.bool_)
    first[(np.cumsum(widths) - widths)[widths > 0]] = True
    steps = np.where(first, codes, np.diff(codes, prepend=0))
    return (steps, True) if (steps > 0).all() else (codes, False)


def _summed(values: Any, rise: bool | None, widths: Any) -> Any:
    """Undo `_differences`."""
    if values is None or not rise or not len(values):
        return values
    total = np.cumsum(values, dtype=np.int64)
    starts = (np.cumsum(widths) - widths)[widths > 0]
    return (total - np.repeat(total[starts] - values[starts], widths[widths > 0])).astype(np.int32)


def _plus(amount: int, values: Any) -> Any:
    return None if values is None else values + amount


def _non_negative(name: str, values: Any) -> Any:
    if values.size and values.min() < 0:
        raise TranscriptError(f"tokens: {name} must be {_LEAST[name]} or more before the pads, got less")
    return values
