"""What one model says to the probes: answers, likeliest tokens, labels, and how likely it finds teachers' answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from kdguard.distill.fleets.probes import Probe, Text, label_of
from kdguard.distill.fleets.recipe import Recipe
from kdguard.distill.students.data import Document, Float32
from kdguard.distill.students.documents import Pair, ask, documents_of_pairs, with_reasoning
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts.codec import PACKED, pack
from kdguard.distill.transcripts.folder import write_tokens
from kdguard.exchanges.tokens import TokenTrace

ROWS = 64
_GRID = 16
"""Log-probabilities below -1 are rounded to sixteenths of a nat."""
_COLUMNS: dict[str, pa.DataType] = {
    "model": pa.string(),
    "prompt_id": pa.int32(),
    "response": pa.string(),
    "reasoning": pa.string(),
    "label": pa.string(),
}
RESPONSES = pa.schema(_COLUMNS)


def answers_of(model: Any, tokenizer: Any, name: str, asked: Sequence[Probe], recipe: Recipe) -> list[Answer]:
    """A model's likeliest answers to the probes, in their order, with the alternatives at each token."""
    asks = [
        Ask(
            request_id=f"{probe.prompt_id:05d}",
            prompt=probe.prompt,
            temperature=0.0,
            max_tokens=recipe.probes.max_tokens,
            top_logprobs=recipe.probes.top,
        )
        for probe in asked
    ]
    teacher = LocalTeacher(model, tokenizer, name=name, rows=ROWS, context=recipe.context)
    return sorted(teacher.answer(asks), key=lambda answer: answer.request_id)


def read_model(
    model: Any,
    tokenizer: Any,
    name: str,
    asked: Sequence[Probe],
    texts: Sequence[Text],
    recipe: Recipe,
    folder: Path,
) -> None:
    """Ask a model everything and write `responses`, `tokens` and `likelihoods` as Parquet files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = answers_of(model, tokenizer, name, asked, recipe)
    rows = [
        {
            "model": name,
            "prompt_id": probe.prompt_id,
            "response": answer.response or "",
            "reasoning": answer.reasoning,
            "label": label_of(probe.kind, answer.response or ""),
        }
        for probe, answer in zip(asked, answers, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, RESPONSES), folder / "responses.parquet")
    packed = [
        pack(f"{name}/{probe.prompt_id}", 0, shortened(answer.tokens, recipe.probes.tokens))
        for probe, answer in zip(asked, answers, strict=True)
        if answer.tokens is not None
    ]
    write_tokens([pa.RecordBatch.from_pylist(packed, PACKED)], folder / "tokens.parquet")
    found = likelihoods(model, documents_of_texts(texts, tokenizer))
    table: dict[str, pa.Array[Any]] = {
        "model": pa.array([name] * len(texts)),
        "text_id": pa.array([text.text_id for text in texts], pa.int32()),
        "logprob": pa.array(found, pa.float32()),
    }
    pq.write_table(pa.table(table), folder / "likelihoods.parquet")


def full_text(response: str | None, reasoning: str | None) -> str:
    """An answer as the model wrote it."""
    return with_reasoning(reasoning, response or "")


def documents_of_texts(texts: Sequence[Text], tokenizer: Any) -> list[Document]:
    """Prompt and answer of each text as token ids; the answer and its end are what is rated."""
    return documents_of_pairs([Pair(ask(text.prompt), text.text) for text in texts], tokenizer)


@torch.inference_mode()
def likelihoods(model: Any, documents: Sequence[Document]) -> Float32:
    """Log-probability of each document's rated tokens, summed, nats; shape (documents,)."""
    found = np.zeros(len(documents), np.float32)
    order = sorted(range(len(documents)), key=lambda at: len(documents[at].tokens))
    for start in range(0, len(order), ROWS):
        batch = order[start : start + ROWS]
        width = max(len(documents[at].tokens) for at in batch)
        tokens = torch.zeros(len(batch), width, dtype=torch.int64)
        rated = torch.zeros(len(batch), width)
        for row, at in enumerate(batch):
            size = len(documents[at].tokens)
            tokens[row, :size] = torch.from_numpy(documents[at].tokens)
            rated[row, 1:size] = torch.from_numpy(documents[at].weights[1:])
        logits = model(input_ids=tokens).logits[:, :-1].float()
        said = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
        found[batch] = (said * rated[:, 1:]).sum(1).numpy()
    return found


def shortened(trace: TokenTrace, tokens: int) -> TokenTrace:
    """The first tokens of a trace, with log-probabilities below -1 rounded to sixteenths of a nat."""

    def first(values: Any) -> Any:
        return None if values is None else values[:tokens]

    return replace(
        trace,
        token_bytes=trace.token_bytes[:tokens],
        logprob=_rounded(trace.logprob[:tokens]),
        token_id=first(trace.token_id),
        top_ids=first(trace.top_ids),
        top_logprobs=None if trace.top_logprobs is None else _rounded(trace.top_logprobs[:tokens]),
        tail_mass=first(trace.tail_mass),
    )


def _rounded(values: Float32) -> Float32:
    return np.where(values < -1, np.round(values * _GRID) / _GRID, values).astype(np.float32)
