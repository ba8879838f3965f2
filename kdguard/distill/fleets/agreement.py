"""How much each model agrees with each teacher, and where it stands among the models that had no teacher.

A check that the families are what they are meant to be; tests of lineage are found elsewhere. Every similarity is
read as a double difference: to one teacher, minus the mean over the other teachers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kdguard.distill.transcripts.codec import unpack
from kdguard.exchanges.tokens import TokenTrace

Float64 = NDArray[np.float64]
_SMALL = 1e-6


@dataclass(frozen=True)
class Shipped:
    """The readings of all models, as they lie in a folder.

    Attributes:
        folder: With the Parquet files, `families.toml` and `controls.csv`.
    """

    folder: Path

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Names of the families; each teacher is the first member."""
        return tuple(tomllib.loads((self.folder / "families.toml").read_text()))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """All models, in the order of the files."""
        return tuple(dict.fromkeys(self.column("responses", "model")))

    @cached_property
    def controls(self) -> Mapping[str, tuple[str, ...]]:
        """For each family the models without any teacher."""
        rows: list[dict[str, Any]] = pacsv.read_csv(self.folder / "controls.csv").to_pylist()
        return {
            family: tuple(
                row["control"]
                for row in rows
                if row["teacher_family"] == family and row["kind"] == "student_pool"
            )
            for family in self.families
        }

    def texts(self, name: str) -> NDArray[np.object_]:
        """A column of strings of `responses` or `labels`, (models, prompts)."""
        file = "labels" if name == "label" else "responses"
        return np.array(self.column(file, name), dtype=object).reshape(len(self.models), -1)

    @cached_property
    def first_tokens(self) -> tuple[TokenTrace, ...]:
        """What each model told of the first token of each answer, model after model."""
        return tuple(unpack(row) for row in pq.read_table(self.folder / "tokens.parquet").to_pylist())

    def column(self, file: str, name: str) -> list[Any]:
        """A column of one of the files."""
        return list(pq.read_table(self.folder / f"{file}.parquet", columns=[name]).column(0).to_pylist())


Similarity = Callable[[Shipped], Float64]
"""From the readings to (models, families); more is more alike."""


def same_answers(shipped: Shipped) -> Float64:
    """Share of probes answered with the very words of the teacher."""
    return _same(shipped, shipped.texts("response"))


def same_labels(shipped: Shipped) -> Float64:
    """Share of probes whose answer comes down to the label of the teacher's."""
    return _same(shipped, shipped.texts("label"))


def shared_words(shipped: Shipped) -> Float64:
    """Mean over the probes of the shared runs of one to three words, as a share of all runs of both answers."""
    runs = [[_runs(text) for text in row] for row in shipped.texts("response")]
    teachers = [runs[shipped.models.index(family)] for family in shipped.families]
    return np.array([[_mean_of(_overlap, mine, theirs) for theirs in teachers] for mine in runs])


def first_token_kl(shipped: Shipped) -> Float64:
    """Minus the mean divergence of the first token's distribution from the teacher's, over listed tokens, nats."""
    prompts = len(shipped.first_tokens) // len(shipped.models)
    rows = [shipped.first_tokens[at * prompts : (at + 1) * prompts] for at in range(len(shipped.models))]
    teachers = [rows[shipped.models.index(family)] for family in shipped.families]
    return np.array([[-_mean_of(_divergence, theirs, mine) for theirs in teachers] for mine in rows])


def likelihood(shipped: Shipped) -> Float64:
    """Mean log-probability a token of the teacher's withheld answers, nats."""
    about = pq.read_table(shipped.folder / "texts.parquet").to_pylist()
    found = np.array(shipped.column("likelihoods", "logprob")).reshape(len(shipped.models), -1)
    columns = []
    for family in shipped.families:
        mine = [row["family"] == family and row["use"] == "withheld" for row in about]
        tokens = sum(row["tokens"] for row, yes in zip(about, mine, strict=True) if yes)
        columns.append(found[:, mine].sum(1) / tokens)
    return np.stack(columns, axis=1)


SIMILARITIES: Mapping[str, Similarity] = {
    "same answers": same_answers,
    "same labels": same_labels,
    "shared words": shared_words,
    "first-token KL": first_token_kl,
    "likelihood": likelihood,
}


def double_difference(found: Float64) -> Float64:
    """Each family's similarity minus the mean over the other families; shape stays."""
    others = (found.sum(axis=1, keepdims=True) - found) / (found.shape[1] - 1)
    return found - others


def ranks(shipped: Shipped, differences: Float64) -> Float64:
    """(1 + controls at least as alike) / (1 + controls), a model's own place left out; (models, families)."""
    places = {name: at for at, name in enumerate(shipped.models)}
    found = np.empty_like(differences)
    for column, family in enumerate(shipped.families):
        pool = np.array([places[name] for name in shipped.controls[family]])
        values = differences[pool, column]
        for row in range(len(differences)):
            others = values[pool != row]
            found[row, column] = (1 + (others >= differences[row, column]).sum()) / (1 + len(others))
    return found


def _same(shipped: Shipped, values: NDArray[np.object_]) -> Float64:
    teachers = values[[shipped.models.index(family) for family in shipped.families]]
    return np.stack([(values == teacher).mean(axis=1) for teacher in teachers], axis=1).astype(np.float64)


def _mean_of(measure: Callable[[Any, Any], float], one: Sequence[Any], other: Sequence[Any]) -> float:
    return float(np.mean([measure(*pair) for pair in zip(one, other, strict=True)]))


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = text.split()
    return frozenset(
        tuple(words[at : at + size]) for size in (1, 2, 3) for at in range(len(words) - size + 1)
    )


def _overlap(one: frozenset[Any], other: frozenset[Any]) -> float:
    return len(one & other) / max(len(one | other), 1)


def _divergence(teacher: TokenTrace, model: TokenTrace) -> float:
    """KL over the tokens that both list and one bucket for the rest."""
    if not len(teacher) or not len(model):
        return 0.0
    theirs, ours = (_listed(trace) for trace in (teacher, model))
    both = theirs.keys() & ours.keys()
    p = np.array([*(theirs[token] for token in both), 1 - sum(theirs[token] for token in both)])
    q = np.array([*(ours[token] for token in both), 1 - sum(ours[token] for token in both)])
    p, q = np.clip(p, _SMALL, 1), np.clip(q, _SMALL, 1)
    return float((p * np.log(p / q)).sum())


def _listed(trace: TokenTrace) -> dict[int, float]:
    assert trace.top_ids is not None
    assert trace.top_logprobs is not None
    return dict(zip(trace.top_ids[0].tolist(), np.exp(trace.top_logprobs[0]).tolist(), strict=True))


def table(rows: Iterable[Sequence[object]], head: Sequence[str]) -> str:
    """Rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
