"""Recorded exchanges as a teacher: what was asked once is answered as it was then."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.errors import TeacherError
from kdguard.exchanges.schema import EXCHANGES
from kdguard.exchanges.tokens import TokenTrace

Trace = Callable[[str, int], TokenTrace | None]
_NEEDED = ("request_id", "choice", "prompt", "response")
_TOLD = (
    *("response", "reasoning", "tool_calls", "label", "finish_reason", "refused"),
    *("input_tokens", "output_tokens", "latency_ms"),
)


class ReplayTeacher:
    """Looks a conversation up, not a request id: the same conversation gets the same choices whoever asks.

    An ask for n choices gets the first n that were recorded, in the order of request id and choice; fewer if
    fewer were recorded. Sampling values are not compared. A conversation that was not recorded is a 404.

    Args:
        exchanges: Rows of the exchange columns; those without an answer are passed over.
        name: Id of the teacher.
        trace: Finds the tokens of a recorded choice.

    Raises:
        TeacherError: A column is missing, or nothing in the rows can be replayed.
    """

    def __init__(self, exchanges: pa.Table, *, name: str = "replay", trace: Trace | None = None) -> None:
        missing = [column for column in _NEEDED if column not in exchanges.column_names]
        if missing:
            raise TeacherError(
                f"recorded exchanges need the columns {', '.join(_NEEDED)}; missing: {missing[0]}"
            )
        self.name, self._trace = name, trace
        self._recorded = _by_conversation(exchanges)
        if not self._recorded:
            raise TeacherError(
                "no recorded exchange has both a prompt and an answer: nothing can be replayed"
            )

    @classmethod
    def load(cls, folder: str | Path, *, name: str | None = None) -> Self:
        """Replay a folder of transcripts, tokens included.

        Raises:
            TranscriptError: The folder cannot be read.
        """
        from kdguard.distill.transcripts.reader import read_transcripts

        told = read_transcripts(folder)
        return cls(told.exchanges, name=name or Path(folder).resolve().name, trace=told.tokens.get)

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer asks in order."""
        for ask in asks:
            turns = [(turn.role, turn.content) for turn in ask.messages]
            recorded = self._recorded.get(_digest(turns), ())
            if not recorded:
                yield failed(ask, self.name, status=404, error="not_recorded")
            for choice, row in enumerate(recorded[: ask.n]):
                yield self._again(ask, choice, row)

    def _again(self, ask: Ask, choice: int, row: dict[str, Any]) -> Answer:
        tokens = None
        if ask.top_logprobs is not None and self._trace is not None:
            tokens = self._trace(row["request_id"], row["choice"])
        probs = row.get("label_probs")
        told: dict[str, Any] = {name: row.get(name) for name in _TOLD}
        return Answer(
            request_id=ask.request_id,
            choice=choice,
            model=row.get("model") or self.name,
            label_probs=tuple((one["label"], one["prob"]) for one in probs) if probs else None,
            tokens=tokens,
            error="missing_logprobs" if ask.top_logprobs is not None and tokens is None else None,
            **told,
        )


def _by_conversation(exchanges: pa.Table) -> dict[bytes, list[dict[str, Any]]]:
    columns = [name for name in exchanges.column_names if name in EXCHANGES.names]
    found: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
    table = exchanges.select(columns).sort_by([("request_id", "ascending"), ("choice", "ascending")])
    for row in (row for batch in table.to_batches(max_chunksize=1024) for row in batch.to_pylist()):
        answered = any(row.get(name) is not None for name in ("response", "tool_calls", "label"))
        if row["prompt"] is not None and answered and row.get("status") in (None, 200):
            found[_digest(_turns(row))].append(row)
    return dict(found)


def _turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    """The conversation of a row: its messages, or system and prompt where a log kept only those."""
    messages = row.get("messages")
    if messages:
        return [(turn["role"] or "user", turn["content"] or "") for turn in messages]
    first = [("system", row["system"])] if row.get("system") is not None else []
    return [*first, ("user", row["prompt"])]


def _digest(turns: list[tuple[str, str]]) -> bytes:
    """One name for a conversation; lengths stand in front so that no two are spelt alike."""
    digest = hashlib.blake2b(digest_size=16)
    for text in (part for turn in turns for part in turn):
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.digest()
