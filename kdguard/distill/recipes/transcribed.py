"""Transcripts as a source of items: filtered, with the teacher's tokens and soft targets where these are known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdguard.distill.corpora.example import Example, verify
from kdguard.distill.filters.answers import Answered, Length, NotCut, NotRefused, Verified
from kdguard.distill.filters.best import BestOf, mean_logprob
from kdguard.distill.filters.duplicates import ExactDuplicates, NearDuplicates
from kdguard.distill.filters.pipeline import Filter, filter_transcripts
from kdguard.distill.procedures.part import Item
from kdguard.distill.recipes.tables import FiltersTable
from kdguard.distill.students.documents import Soft, documents_of_transcripts, learnable_rows, said, turns_of
from kdguard.distill.transcripts.reader import Transcripts, read_transcripts
from kdguard.errors import TrainingError


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What a teacher told.

    Attributes:
        transcripts: What filters left.
        dropped: What they left out, by reason.
        queries: Requests before filters.
        digest: Of the exchanges and tokens as read.
    """

    transcripts: Transcripts
    dropped: Mapping[str, int]
    queries: int
    digest: str

    @property
    def texts(self) -> tuple[str, ...]:
        """All text, for a tokenizer."""
        names = ("system", "prompt", "reasoning", "response", "label")
        columns = (self.transcripts.exchanges[name].to_pylist() for name in names)
        return tuple(text for row in zip(*columns, strict=True) for text in row if text)

    @property
    def teachers(self) -> tuple[str, ...]:
        """Models that answered."""
        return tuple(sorted({name for name in self.transcripts.exchanges["model"].to_pylist() if name}))

    def items(self, tokenizer: Any, soft: Soft) -> list[Item]:
        """Every answer that can be learnt."""
        rows = learnable_rows(self.transcripts)
        documents = documents_of_transcripts(self.transcripts, tokenizer, soft=soft)
        return [
            Item(
                document,
                turns=turns_of(row),
                answer=said(row),
                label=row["label"],
                label_probs=_probabilities(row["label_probs"]),
            )
            for row, document in zip(rows, documents, strict=True)
        ]


def transcribed(path: Path, filters: FiltersTable, *, verified_by: Mapping[str, Example] | None) -> Told:
    """Read and filter a transcript folder.

    Args:
        path: Folder.
        filters: What is to be left out.
        verified_by: Examples by prompt, for the filter `verified`.

    Raises:
        TrainingError: `verified` without ground truth.
        TranscriptError: The folder holds no transcripts.
    """
    whole = read_transcripts(path)
    chosen = _filters(filters, whole, verified_by)
    left = filter_transcripts(whole, chosen)
    queries = len(set(whole.exchanges["request_id"].to_pylist()))
    return Told(left.transcripts, left.outcome.dropped, queries, _digest(whole))


def _filters(
    table: FiltersTable, transcripts: Transcripts, verified_by: Mapping[str, Example] | None
) -> list[Filter]:
    chosen: list[Filter] = []
    if table.answered:
        chosen.append(Answered())
    if table.not_refused:
        chosen.append(NotRefused())
    if table.not_cut:
        chosen.append(NotCut())
    if table.least_chars or table.most_chars is not None:
        chosen.append(Length(least_chars=table.least_chars, most_chars=table.most_chars))
    if table.verified:
        chosen.append(Verified(_verifier(verified_by)))
    if table.best_of is not None:
        chosen.append(BestOf(mean_logprob(transcripts.tokens), table.best_of))
    if table.duplicates:
        chosen.append(ExactDuplicates())
    if table.near_duplicates is not None:
        chosen.append(NearDuplicates(table.near_duplicates))
    return chosen


def _verifier(known: Mapping[str, Example] | None) -> Any:
    if known is None:
        raise TrainingError("filters.verified needs ground truth, which data of kind 'asked' has")

    def right(row: Mapping[str, Any]) -> bool:
        example = known.get(row["prompt"] or "")
        return example is not None and verify(example, said(row) or "")

    return right


def _probabilities(told: Any) -> tuple[tuple[str, float], ...]:
    return tuple((one["label"], one["prob"]) for one in told or ())


def _digest(transcripts: Transcripts) -> str:
    state = hashlib.blake2b(digest_size=16)
    for table in (transcripts.exchanges, transcripts.tokens.packed):
        for row in table.to_pylist():
            state.update(repr(row).encode())
    return state.hexdigest()
