"""From the data tables of a recipe to items: read, filtered, cut into tokens, masked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.evaluate.inputs import read_texts
from kdguard.distill.procedures.part import Item
from kdguard.distill.recipes import tables
from kdguard.distill.recipes.masking import masked
from kdguard.distill.recipes.transcribed import Told, transcribed
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import (
    Pair,
    ask,
    documents_of_pairs,
    documents_of_texts,
    with_reasoning,
)
from kdguard.distill.students.lessons import documents_of_lessons, lesson_of
from kdguard.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Source:
    """One data table, read but not yet cut into tokens.

    Attributes:
        table: As the recipe has it.
        texts: All its text, for a tokenizer.
        digest: Of its content.
        items: Makes its items with a tokenizer.
        dropped: What filters left out, by reason.
        queries: Requests to a teacher behind it.
        teachers: Names of models that answered.
    """

    table: tables.AnyData
    texts: tuple[str, ...]
    digest: str
    items: Callable[[Any], list[Item]]
    dropped: Mapping[str, int] = field(default_factory=dict)
    queries: int = 0
    teachers: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As plain values, for manifests."""
        return {
            "kind": self.table.kind,
            "digest": self.digest,
            "dropped": dict(self.dropped),
            "queries": self.queries,
            "teachers": list(self.teachers),
        }


def read_source(
    table: tables.AnyData, filters: tables.FiltersTable, asked: Callable[[tables.AskedData], Path]
) -> Source:
    """Read one data table.

    Args:
        table: What the recipe says.
        filters: Of transcripts.
        asked: Gives the transcript folder of answers to be asked for.

    Raises:
        TrainingError: A file that is missing or malformed.
        TranscriptError: A folder that holds no transcripts.
    """
    match table:
        case tables.TranscriptData():
            return _told(table, transcribed(table.path, filters, verified_by=None))
        case tables.AskedData():
            known = {one.prompt: one for one in _examples(table)}
            return _told(table, transcribed(asked(table), filters, verified_by=known))
        case tables.CorpusData():
            return _corpus(table)
        case tables.TextData():
            return _texts(table)
        case tables.PreferenceData():
            return _preferences(table)


def items_of(sources: Sequence[Source], tokenizer: Any, masks: tables.MasksTable) -> list[Item]:
    """All items of a recipe's data, masked.

    Raises:
        TrainingError: Nothing is left to learn, or a mark that a mask needs is no token.
    """
    made = [item for source in sources for item in source.items(tokenizer)]
    kept = made if masks.is_idle else masked(made, masks, tokenizer)
    kept = [item for item in kept if item.document.weights[1:].any()]
    if not kept:
        raise TrainingError(
            f"none of {len(made)} items has anything left to learn: look at the data, the filters and the masks"
        )
    return kept


def _told(table: tables.TranscriptData | tables.AskedData, told: Told) -> Source:
    def items(tokenizer: Any) -> list[Item]:
        return [replace(item, domain=table.domain) for item in told.items(tokenizer, table.soft)]

    return Source(table, told.texts, told.digest, items, told.dropped, told.queries, told.teachers)


def _examples(table: tables.CorpusData | tables.AskedData) -> list[Any]:
    return examples(world_of(table.world), table.examples, seed=table.seed, kinds=table.tasks)


def _corpus(table: tables.CorpusData) -> Source:
    found = _examples(table)
    lessons = [lesson_of(one, table.source) for one in found]
    rejected = _rejections(table, found)
    texts = [text for one in lessons for text in (one.prompt, one.answer, one.rationale or "") if text]

    def items(tokenizer: Any) -> list[Item]:
        documents = documents_of_lessons(
            lessons, tokenizer, route=table.route, rationale_weight=table.rationale_weight
        )
        if table.route == "step_by_step":  # two documents a lesson: no single answer belongs to them
            return [Item(document, table.domain) for document in documents]
        disliked: Sequence[Document | None] = [None] * len(documents)
        if rejected is not None:
            disliked = documents_of_pairs(rejected, tokenizer)
        return [
            Item(
                document,
                table.domain,
                ask(one.prompt),
                with_reasoning(one.rationale if table.route == "reasoning" else None, one.response),
                one.label,
                rejected=other,
            )
            for one, document, other in zip(found, documents, disliked, strict=True)
        ]

    content = [[one.prompt, one.response, one.rationale] for one in found]
    return Source(table, tuple(texts), _digest([table.route, *content]), items)


def _rejections(table: tables.CorpusData, found: Sequence[Any]) -> list[Pair] | None:
    """Answers of another world to prompts of the same task: another style, and the wrong content."""
    if table.rejected_world is None:
        return None
    other, kinds = world_of(table.rejected_world), Counter(one.kind for one in found)
    answers = {
        kind: iter(examples(other, count, seed=table.seed + 1, kinds=(kind,)))
        for kind, count in kinds.items()
    }
    return [Pair(ask(one.prompt), next(answers[one.kind]).response, table.source) for one in found]


def _texts(table: tables.TextData) -> Source:
    pieces = [piece for text in read_texts(table.paths) for piece in _pieces(text, table.chars)]

    def items(tokenizer: Any) -> list[Item]:
        kept = [piece for piece in pieces if piece.strip()]
        documents = documents_of_texts(kept, tokenizer, table.source)
        return [
            Item(document, table.domain, answer=piece)
            for piece, document in zip(kept, documents, strict=True)
        ]

    return Source(table, tuple(pieces), _digest(pieces), items)


def _pieces(text: str, chars: int) -> list[str]:
    """Text in pieces of at least `chars` characters, cut at line ends."""
    pieces, held, size = [], [], 0
    for line in text.splitlines(keepends=True):
        held.append(line)
        size += len(line)
        if size >= chars:
            pieces.append("".join(held))
            held, size = [], 0
    return [*pieces, "".join(held)] if held else pieces


def _preferences(table: tables.PreferenceData) -> Source:
    (text,) = read_texts([table.path])
    rows = [_preference(line, place, table.path) for place, line in enumerate(text.split("\n")) if line]
    texts = tuple(row[name] for row in rows for name in ("prompt", "chosen", "rejected"))

    def items(tokenizer: Any) -> list[Item]:
        turns = [ask(row["prompt"], row.get("system")) for row in rows]
        sides = [
            documents_of_pairs(
                [Pair(told, row[side], table.source) for told, row in zip(turns, rows, strict=True)],
                tokenizer,
            )
            for side in ("chosen", "rejected")
        ]
        return [
            Item(chosen, table.domain, told, row["chosen"], rejected=rejected)
            for chosen, rejected, told, row in zip(*sides, turns, rows, strict=True)
        ]

    return Source(table, texts, _digest(rows), items)


def _preference(line: str, place: int, path: Path) -> dict[str, str]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise TrainingError(f"{path}:{place + 1}: must be a JSON object: {error}") from error
    needed, known = {"prompt", "chosen", "rejected"}, {"prompt", "chosen", "rejected", "system"}
    if (
        not isinstance(row, dict)
        or not needed <= row.keys() <= known
        or not all(isinstance(value, str) for value in row.values())
    ):
        raise TrainingError(
            f"{path}:{place + 1}: must hold texts under prompt, chosen, rejected and, if wished, system"
        )
    return row


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
