"""From a journal segment to a part of signals: decrypt, leave out the late, encode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from kdguard.features.lateness import LATENESS, Seen, late_rows
from kdguard.features.signals import NO_TIME, Encoder
from kdguard.features.text import hash_identities
from kdguard.service.ingest.journal import frames, path_of
from kdguard.service.ingest.sealing import unseal
from kdguard.service.live.parts import Counts, Part, span, write_part
from kdguard.service.store.account_keys import AccountKeys

BOUND_US = LATENESS // LATENESS.resolution
_BATCH_ROWS = 8_192


def encode_segment(
    journal: Path, number: int, folder: Path, keys: AccountKeys, tenant: str, encoder: Encoder, seen: Seen
) -> tuple[Counts, Seen]:
    """Write the part of one segment.

    Args:
        journal: Folder of the journal.
        number: The segment.
        folder: Folder of the parts.
        keys: Keys of the tenant's accounts.
        tenant: Whose.
        encoder: Of the active baseline.
        seen: Latest times before this segment.

    Returns:
        What was counted, and the latest times after it.
    """
    counts, encoded = Counts(), []
    for batch in _gathered(unseal_segment(journal, number, keys, tenant)):
        subject = hash_identities(batch.column("account_id"))
        time_us = batch.column("time").cast(pa.int64()).to_numpy()
        nobody = batch.column("account_id").is_null().to_numpy(zero_copy_only=False)
        late, seen = late_rows(subject, np.where(nobody, NO_TIME, time_us), BOUND_US, seen)
        on_time = batch.filter(pa.array(~late))
        signals = encoder.encode(on_time)
        counts += Counts(
            on_time.num_rows, int((nobody & ~late).sum()), int(late.sum()), *span(signals.column("time_us"))
        )
        encoded.append(signals)
    write_part(folder, Part(number, number), encoded, counts)
    return counts, seen


def unseal_segment(journal: Path, number: int, keys: AccountKeys, tenant: str) -> Iterator[pa.RecordBatch]:
    """The exchanges of a segment that can still be read, in order of arrival within each account."""
    for payload in frames(path_of(journal, number)):
        yield from unseal(payload, keys, tenant)


def _gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches joined, in order."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _BATCH_ROWS:
            yield _joined(waiting)
            waiting, rows = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
