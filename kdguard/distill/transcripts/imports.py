"""Logs to transcripts, as managed distillation services take them: filtered by metadata, prompts only or pairs.

Stored completions of OpenAI and invocation logs of Amazon Bedrock are what these services train from. With prompts
only, Bedrock asks the teacher itself; with pairs it takes the logged answers as they are, at most 15,000 of either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from kdguard.distill.transcripts.selection import Selection, selecting
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import LogError, TranscriptError
from kdguard.exchanges.tokens import TokenTrace
from kdguard.readers import FORMATS, Rejects, read, sniff
from kdguard.readers.reader import JsonReader
from kdguard.readers.sources import expand

MOST_RECORDS: Final = 15_000
_CHUNK_ROWS: Final = 256
_RESULTS: Final = (
    *("response", "reasoning", "tool_calls", "label", "label_probs", "finish_reason", "refused", "status"),
    *("output_tokens", "latency_ms"),
)
Row = dict[str, Any]
Pair = tuple[Row, TokenTrace | None]


class Mode(StrEnum):
    """What a distillation job takes from a log."""

    PROMPT_ONLY = "prompt-only"
    PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a log.

    Attributes:
        requests: Requests that are in the transcripts.
        records: Prompts or pairs in the transcripts.
        with_tokens: Pairs whose tokens were told.
        dropped: What was left out, by reason: `metadata` and `model` (filters), `no_prompt`, `no_answer`,
            `duplicate`, `over_limit`; the filters count records,
            `duplicate` also single choices, the others requests.
        rejects: Lines that could not be read.
    """

    requests: int
    records: int
    with_tokens: int
    dropped: Mapping[str, int]
    rejects: int


def import_log(
    paths: Sequence[str | Path],
    folder: str | Path,
    *,
    format: str = "auto",
    metadata: Mapping[str, str] | None = None,
    model: str | None = None,
    mode: Mode = Mode.PAIRS,
    limit: int = MOST_RECORDS,
    rejects: Rejects | None = None,
) -> Imported:
    """Turn a log into a sealed transcript folder.

    Args:
        paths: Files, globs, directories, or `-`; read in sorted order, so the same files give the same transcripts.
        folder: Where the transcripts are to stand; an import that was killed goes on when it is called again.
        format: A format of `kdguard.readers`, or `auto` to recognise each file.
        metadata: Pairs that a record's metadata must hold, all of them.
        model: Only answers of this model.
        mode: Prompts alone, or prompts with their answers. A request of n choices is n pairs.
        limit: Most prompts or pairs; requests that do not fit any more are dropped.
        rejects: Receives what could not be read.

    Returns:
        The counts.

    Raises:
        LogError: No such file or format, or nothing in it can be read.
        TranscriptError: Nothing is left after filtering, the format has no metadata, or the folder cannot be written
            or holds something else.
    """
    if limit < 1:
        raise TranscriptError(f"limit must be at least 1, got {limit}")
    counted = rejects if rejects is not None else Rejects()
    sources = [source.name for source in expand(paths)]
    about = {
        "import": [Path(name).name for name in sources],
        "sha256": [_digest(Path(name)) for name in sources if Path(name).is_file()],
        "metadata": dict(metadata or {}),
        **{"model": model, "mode": str(mode), "limit": limit},
    }
    selection = Selection()
    with TranscriptWriter(folder, about=about) as writer:
        if writer.is_sealed:
            raise TranscriptError(f"{folder}: already holds this import; use another folder to make it anew")
        batches = _batches(sources, format, metadata or {}, model, selection, counted)
        done = _Import(writer, selection, mode, limit)
        done.take(batches)
        if not writer.done_ids(include_failed=True):
            left = ", ".join(f"{name} {count:,}" for name, count in selection.dropped.items())
            raise TranscriptError(f"nothing to import: every record was left out ({left or 'no record'})")
        writer.seal(dropped=dict(selection.dropped), rejects=dict(counted.counts))
    return Imported(done.requests, done.records, done.with_tokens, dict(selection.dropped), counted.total)


@dataclass(slots=True)
class _Import:
    """Requests on their way from batches into a writer."""

    writer: TranscriptWriter
    selection: Selection
    mode: Mode
    limit: int
    requests: int = 0
    records: int = 0
    with_tokens: int = 0

    def take(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append all requests that qualify, some at a time."""
        before = self.writer.done_ids(include_failed=True)  # by an import that was killed
        seen: set[str] = set()
        waiting: list[Pair] = []
        rows = (row for batch in batches for row in batch.to_pylist())
        for name, group in groupby(rows, key=lambda row: row["request_id"]):
            kept = self._kept(self._with_tokens(list(group)), seen)
            seen.add(name)
            self.requests += bool(kept)
            self.records += len(kept)
            self.with_tokens += sum(trace is not None for _, trace in kept)
            waiting += kept if name not in before else ()
            if len(waiting) >= _CHUNK_ROWS:
                self._append(waiting)
                waiting = []
        self._append(waiting)

    def _with_tokens(self, rows: list[Row]) -> list[Pair]:
        """The rows of one request, each choice once."""
        first = {row["choice"]: row for row in reversed(rows)}
        again = len(rows) - len(first)
        if again:
            self.selection.dropped["duplicate"] += again
        fetch = self.selection.traces.pop
        return [(first[choice], fetch((rows[0]["request_id"], choice), None)) for choice in sorted(first)]

    def _kept(self, told: list[Pair], seen: set[str]) -> list[Pair]:
        """The rows of one request that are wanted, with their tokens; none with a reason."""
        first = told[0][0]
        kept: list[Pair] = [(row, trace) for row, trace in told if _is_answered(row)]
        if self.mode is Mode.PROMPT_ONLY:
            kept = [(first | dict.fromkeys(_RESULTS) | {"choice": 0}, None)]
        reasons = {
            "duplicate": first["request_id"] in seen,
            "no_prompt": first["prompt"] is None,
            "no_answer": not kept,
            "over_limit": self.records + len(kept) > self.limit,
        }
        reason = next((name for name, holds in reasons.items() if holds), None)
        if reason is None:
            return kept
        self.selection.dropped[reason] += 1
        return []

    def _append(self, pairs: list[Pair]) -> None:
        rows = [row | {"origin": "teacher"} for row, _ in pairs]
        self.writer.append_rows(rows, [trace for _, trace in pairs])


def _is_answered(row: Row) -> bool:
    said = row["response"] or row["tool_calls"] or row["label"]
    return bool(said) and (row["status"] is None or 200 <= row["status"] < 300)


def _batches(
    sources: list[str],
    format: str,
    metadata: Mapping[str, str],
    model: str | None,
    selection: Selection,
    rejects: Rejects,
) -> Iterator[pa.RecordBatch]:
    """Read source after source through the format of each, selecting."""
    for name in sources:
        reader = FORMATS.get(sniff(name) if format == "auto" else format)
        if not isinstance(reader, JsonReader):
            raise TranscriptError(
                f"{name}: format '{format}' cannot be imported; use one of {', '.join(FORMATS)}"
            )
        before = selection.dropped.total()
        try:
            yield from read([name], selecting(reader, metadata, selection, model=model), rejects=rejects)
        except LogError:
            if selection.dropped.total() == before:
                raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
