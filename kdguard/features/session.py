"""Rows in canonical order, with what follows from the order: ordinal, gap, and the request before."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.signals import FLAGS, NO_TIME

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Signals of n exchanges as numpy arrays, contiguous by subject and in time order within one.

    Attributes:
        subject: Hash of the account, shape (n,).
        ordinal: Position within the account, from 0, shape (n,).
        time_us: Microseconds since 1970, `NO_TIME` = unknown.
        gap_us: Microseconds since the account's request before, -1 = first or unknown.
        previous_flags: Flags of the request before, 0 = first.
        margin: Technique log-odds, nats x 256.
        technique: Index of the likeliest technique.
        familiarity: Share of its pairs of common words that the reference has, x 256; -1 = too few pairs.
        has_text: Whether the prompt text was there.
        signs: Packed random-hyperplane signs, shape (n, 16).
        head, tail, text, system: Hashes of first words, last words, whole prompt, system prompt.
        prompt_bytes, output_tokens: Sizes; -1 = unknown.
        flags: Bits of `kdguard.features.signals.FLAGS`.
        model, network, user_agent, tls, key, session: Hashes; 0 = absent.
    """

    subject: Codes
    ordinal: Ints
    time_us: Ints
    gap_us: Ints
    previous_flags: npt.NDArray[np.int32]
    margin: npt.NDArray[np.int32]
    technique: npt.NDArray[np.int8]
    familiarity: npt.NDArray[np.int32]
    has_text: npt.NDArray[np.bool_]
    signs: npt.NDArray[np.uint8]
    head: Codes
    tail: Codes
    text: Codes
    system: Codes
    prompt_bytes: Ints
    output_tokens: Ints
    flags: npt.NDArray[np.int32]
    model: Codes
    network: Codes
    user_agent: Codes
    tls: Codes
    key: Codes
    session: Codes

    def __len__(self) -> int:
        return len(self.subject)

    def take(self, keep: npt.NDArray[Any] | slice) -> Rows:
        """Return the rows selected by a mask, an index array or a slice."""
        return Rows(**{item.name: getattr(self, item.name)[keep] for item in fields(self)})

    def flag(self, name: str) -> npt.NDArray[np.bool_]:
        """Return whether a flag is set, shape (n,)."""
        return (self.flags & FLAGS[name]) != 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the account at the end of the rows so far stands.

    Attributes:
        subject: Hash of the account; None before the first row.
        ordinal: Ordinal of its next row.
        time_us: Time of its last row.
        flags: Flags of its last row.
    """

    subject: int | None = None
    ordinal: int = 0
    time_us: int = NO_TIME
    flags: int = 0


_COMPUTED = {"ordinal", "gap_us", "previous_flags", "signs"}
_DIRECT = tuple(item.name for item in fields(Rows) if item.name not in _COMPUTED)


def rows_from(signals: pa.RecordBatch, cursor: Cursor) -> tuple[Rows, Cursor]:
    """Add order features to signals that are sorted by account and time.

    Args:
        signals: Signals sorted by (subject, time, request_id, choice), duplicates already dropped.
        cursor: State after the preceding batch of the same stream.

    Returns:
        The rows, and the cursor for the batch that follows.
    """
    size = signals.num_rows
    arrays = {name: signals.column(name).to_numpy(zero_copy_only=False) for name in _DIRECT}
    subject, time_us, flags = arrays["subject"], arrays["time_us"], arrays["flags"]
    fresh = np.ones(size, np.bool_)
    fresh[1:] = subject[1:] != subject[:-1]
    continues = size > 0 and cursor.subject == int(subject[0])
    starts = np.flatnonzero(fresh)
    ordinal = np.arange(size) - np.repeat(starts, np.diff(np.append(starts, size)))
    before_us = np.concatenate(([cursor.time_us], time_us[:-1]))
    before_flags = np.concatenate(([cursor.flags], flags[:-1])).astype(np.int32)
    if continues:
        fresh[0] = False
        ordinal[: starts[1] if len(starts) > 1 else size] += cursor.ordinal
    known = ~fresh & (time_us != NO_TIME) & (before_us != NO_TIME)
    gap_us = np.full(size, -1, np.int64)
    gap_us[known] = time_us[known] - before_us[known]
    rows = Rows(
        ordinal=ordinal,
        gap_us=gap_us,
        previous_flags=np.where(fresh, 0, before_flags).astype(np.int32),
        signs=_packed(signals.column("signs")),
        **arrays,
    )
    if size == 0:
        return rows, cursor
    return rows, Cursor(int(subject[-1]), int(ordinal[-1]) + 1, int(time_us[-1]), int(flags[-1]))


def _packed(signs: pa.Array[Any]) -> npt.NDArray[np.uint8]:
    _, data = signs.buffers()
    width = signs.type.byte_width
    return np.frombuffer(memoryview(data or b""), np.uint8, len(signs) * width, signs.offset * width).reshape(
        -1, width
    )
