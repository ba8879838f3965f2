"""Write a transcript folder while a teacher is being asked, so that a crash costs one exchange at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import pyarrow as pa

from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts import folder as layout
from kdguard.distill.transcripts.codec import PACKED, pack
from kdguard.distill.transcripts.journal import Journal
from kdguard.distill.transcripts.records import Entry, Record, contents, encode, encode_about, entries
from kdguard.distill.transcripts.rows import exchange_rows
from kdguard.errors import TranscriptError
from kdguard.exchanges.schema import from_rows
from kdguard.exchanges.tokens import TokenTrace


class TranscriptWriter:
    """Appends exchanges to a folder, and seals it when all are there.

    Until then everything stands in one journal. `append` returns once the operating system has the exchange: it then
    survives the death of this process, though not a power cut. Opening the folder again goes on where it ended.

    Args:
        folder: Made if absent.
        about: What the run is, in JSON values: teacher, recipe digest, seed. Kept from the first opening on; a later
            opening must say the same, or nothing.

    Raises:
        TranscriptError: The folder cannot be written, is being written by another process, is damaged, or was begun
            about something else.
    """

    def __init__(self, folder: str | Path, *, about: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self._journal: Journal | None = None
        self._entries: dict[str, Entry] = {}
        about = None if about is None else orjson.loads(orjson.dumps(dict(about)))
        self.about = about or {}
        layout.make_folder(self.folder)
        self.is_sealed = layout.is_sealed(self.folder)
        if self.is_sealed:
            self._sealed_ids = layout.sealed_ids(self.folder)
            self._agree(layout.read_manifest(self.folder).get("about", {}), about)
            return
        self._journal = journal = Journal(self.folder / layout.JOURNAL)
        try:
            begun, self._entries = contents(journal.path)
            if begun is None:
                journal.append(encode_about(self.about))
            else:
                self._agree(begun, about)
        except BaseException:
            journal.close()
            raise

    def append(self, ask: Ask, answers: Sequence[Answer], **columns: Any) -> None:
        """Append one request with all its choices.

        Args:
            ask: The request.
            answers: Its choices, or the one answer that says why there is none.
            columns: Further exchange columns, e.g. `time`, `org_id`, `client_ip`; see `exchange_rows`.

        Raises:
            TranscriptError: The disk is full (what was appended before is kept, and this may be tried again), the
                request was answered before, or the values do not fit their columns.
        """
        rows = exchange_rows(ask, answers, **columns)
        self.append_rows(rows, [answer.tokens for answer in answers])

    def append_rows(self, rows: Sequence[Mapping[str, Any]], traces: Sequence[TokenTrace | None]) -> None:
        """Append whole requests at once, all or none of them.

        Args:
            rows: Exchange columns, all rows of a request together; `request_id` and `choice` are needed.
            traces: The tokens of each row, or None.

        Raises:
            TranscriptError: As for `append`.
        """
        if self._journal is None:
            state = "sealed; write what comes later to another folder" if self.is_sealed else "closed"
            raise TranscriptError(f"{self.folder}: the transcripts are {state}")
        if not rows:
            return
        record = _record(rows, traces)
        new = entries(record.exchanges, 0)
        for entry in new:
            before = self._entries.get(entry.request_id)
            if before is not None and not before.is_failed:
                raise TranscriptError(
                    f"{self.folder}: request {entry.request_id} was answered before; ask only what is not done"
                )
        start = self._journal.append(encode(record))
        self._entries |= {entry.request_id: entry._replace(start=start) for entry in new}

    def done_ids(self, *, include_failed: bool = False) -> frozenset[str]:
        """Requests that need not be asked again.

        Args:
            include_failed: Also those that got nothing but errors; otherwise they may be appended anew.
        """
        if self.is_sealed:
            return self._sealed_ids
        return frozenset(
            entry.request_id for entry in self._entries.values() if include_failed or not entry.is_failed
        )

    def seal(self, **manifest: Any) -> dict[str, Any]:
        """Sort everything into `exchanges.parquet` and `tokens.parquet`, write the manifest, drop the journal.

        A crash on the way leaves the journal, and sealing starts over. Sealed folders stay as they are.

        Args:
            manifest: Further entries of `manifest.json`.

        Returns:
            The manifest.

        Raises:
            TranscriptError: The disk is full; the journal is kept.
        """
        if self.is_sealed:
            return layout.read_manifest(self.folder)
        if self._journal is None:
            raise TranscriptError(
                f"{self.folder}: the transcripts are closed; open the folder again to seal it"
            )
        told = layout.seal(self.folder, self._entries, manifest | {"about": self.about})
        self._sealed_ids = self.done_ids(include_failed=True)
        self.close()
        self.is_sealed = True
        return told

    def close(self) -> None:
        """Let go of the folder; what was appended stays."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _agree(self, begun: dict[str, Any], about: dict[str, Any] | None) -> None:
        if about is not None and begun != about:
            raise TranscriptError(f"{self.folder}: was begun about {begun}, got {about}; use another folder")
        self.about = begun


def _record(rows: Sequence[Mapping[str, Any]], traces: Sequence[TokenTrace | None]) -> Record:
    """Rows and traces as batches, once it is sure that a reader can take them apart again."""
    keys = [(row.get("request_id"), row.get("choice")) for row in rows]
    runs = [name for name, _ in groupby(name for name, _ in keys)]
    if len(set(keys)) < len(keys) or len(set(runs)) < len(runs) or any(None in key for key in keys):
        raise TranscriptError(
            "transcripts: rows need request_id and choice, each pair once, and all rows of a request together"
        )
    packed = [pack(*key, trace) for key, trace in zip(keys, traces, strict=True) if trace is not None]  # type: ignore[arg-type]
    try:
        exchanges = from_rows(dict(row) for row in rows)
    except (pa.ArrowException, OverflowError) as error:
        raise TranscriptError(
            f"transcripts: a value of request {keys[0][0]} does not fit its column: {error}"
        ) from error
    arrays = [pa.array([row.get(field.name) for row in packed], field.type) for field in PACKED]
    return Record(exchanges, pa.RecordBatch.from_arrays(arrays, schema=PACKED))
