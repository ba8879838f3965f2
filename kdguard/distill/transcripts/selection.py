"""A reader that gives only the records a metadata filter asks for, and keeps their tokens at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kdguard.distill.transcripts.api_tokens import trace_of_chat
from kdguard.errors import TranscriptError
from kdguard.exchanges.tokens import TokenTrace
from kdguard.readers.dialects.content import at, unwrapped
from kdguard.readers.reader import JsonReader, Record, Row, digest

METADATA: Final[Mapping[str, tuple[str, ...]]] = {
    "openai-stored": ("metadata",),
    "openai": ("request.metadata", "response.metadata"),
    "bedrock": ("requestMetadata",),
}
"""Where each format keeps the labels that a caller gave to a request."""
_BODIES: Final = ("request", "response")


@dataclass(slots=True)
class Selection:
    """What passed through a selecting reader.

    Attributes:
        dropped: Records left out, by reason.
        traces: Tokens of rows that were given and not yet fetched, by request and choice.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    traces: dict[tuple[str, int], TokenTrace] = field(default_factory=dict)


def selecting(
    reader: JsonReader, metadata: Mapping[str, str], selection: Selection, *, model: str | None = None
) -> JsonReader:
    """The same format, but only of records whose metadata holds all the given pairs.

    Args:
        reader: A format.
        metadata: Pairs that must all be there, as texts.
        selection: Receives what is left out, and the tokens.
        model: Only answers of this model.

    Raises:
        TranscriptError: The format has no metadata to filter by.
    """
    if metadata and reader.name not in METADATA:
        known = ", ".join(METADATA)
        raise TranscriptError(f"--metadata works with the formats {known}, not with '{reader.name}'")

    def exchanges(record: Record) -> Iterable[Row]:
        if metadata and not _has(record, metadata, METADATA[reader.name]):
            selection.dropped["metadata"] += 1
            return ()
        rows = list(reader.to_exchanges(record))
        if model is not None and any(row.get("model") != model for row in rows):
            selection.dropped["model"] += 1
            return ()
        for position, row in enumerate(rows):  # as `Pending.take` will name them
            row["request_id"] = row.get("request_id") or digest(record)
            row["choice"] = position if row.get("choice") is None else row["choice"]
        for key, trace in _traces(record, rows):
            selection.traces.setdefault(key, trace)  # of two records with one id, the first counts
        return rows

    return replace(reader, exchanges=exchanges)


def _has(record: Record, metadata: Mapping[str, str], paths: Iterable[str]) -> bool:
    whole = record | {name: unwrapped(record[name]) for name in _BODIES if name in record}
    return all(
        any(_text(at(whole, f"{path}.{key}")) == value for path in paths) for key, value in metadata.items()
    )


def _text(value: Any) -> str | None:
    """A metadata value as text; numbers and booleans as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _traces(record: Record, rows: list[Row]) -> Iterator[tuple[tuple[str, int], TokenTrace]]:
    """Tokens of the choices of a chat completion, where it tells them."""
    body = record if "choices" in record else unwrapped(record.get("response"))
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        return
    for row, choice in zip(rows, choices, strict=False):
        trace = trace_of_chat(at(choice, "logprobs.content"))
        if trace is not None:
            yield (str(row["request_id"]), int(row["choice"])), trace
