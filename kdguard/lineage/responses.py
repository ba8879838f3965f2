"""Answers of many models to the same prompts: one table for teachers, controls and suspects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.errors import LineageError
from kdguard.lineage.order import place_in_order
from kdguard.lineage.tables import read_frame, with_ids
from kdguard.readers.handed import must_have

COLUMNS = ("model", "prompt_id", "response")


@dataclass(frozen=True)
class Responses:
    """Answers of M models to P prompts, in the order in which the prompts are looked at.

    Attributes:
        models: Names, sorted.
        prompts: Prompt ids as text; the order is drawn with a public seed, so that stopping early cannot be steered.
        texts: Answers, prompt by prompt, shape (P * M,); null where a model has none.
        seed: Seed of the order.
        repeated: Answers left out because their model had answered that prompt already.
    """

    models: tuple[str, ...]
    prompts: tuple[str, ...]
    texts: pa.Array[pa.StringScalar]
    seed: int = 0
    repeated: int = 0

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which model answered which prompt with at least one character, shape (P, M)."""
        given = [text.as_py() for text in self.texts]
        full = np.array([bool(text and text.strip()) for text in given], np.bool_)
        return full.reshape(len(self.prompts), len(self.models))

    def place(self, model: str) -> int:
        """Column of a model.

        Raises:
            LineageError: The table has no answers of it.
        """
        at = int(np.searchsorted(self.models, model))
        if at == len(self.models) or self.models[at] != model:
            raise LineageError(
                f"no answers of model '{model}'; the table has {len(self.models)} models, the nearest names are "
                f"{', '.join(self.models[max(at - 2, 0) : at + 2])}"
            )
        return at

    def first(self, prompts: int) -> Responses:
        """The same models on the first so many prompts."""
        kept = self.prompts[:prompts]
        texts = self.texts.slice(0, len(kept) * len(self.models))
        return Responses(self.models, kept, texts, self.seed, self.repeated)


def read_responses(path: Path, *, seed: int = 0) -> Responses:
    """Read a table with columns `model`, `prompt_id`, `response` from Parquet, CSV or JSON lines.

    Raises:
        LineageError: It cannot be read, lacks a column, or names no model.
    """
    frame = read_frame(path, COLUMNS)
    return responses_of(frame, seed=seed, name=str(path))


def responses_of(frame: pd.DataFrame, *, seed: int = 0, name: str = "responses") -> Responses:
    """Arrange a data frame of answers.

    Args:
        frame: Columns `model`, `prompt_id`, `response`; a null answer is a missing one.
        seed: Public seed of the order of prompts.
        name: For messages.

    Raises:
        LineageError: A column is missing, or there are no rows.
    """
    must_have(list(frame.columns), COLUMNS, name, LineageError)
    frame = with_ids(frame[list(COLUMNS)])
    if frame.empty:
        raise LineageError(f"{name}: must have at least one row with a model and a prompt_id, got none")
    once = frame.drop_duplicates(["model", "prompt_id"])
    models = tuple(sorted(once["model"].unique()))
    prompts = tuple(sorted(once["prompt_id"].unique(), key=lambda prompt: place_in_order(seed, prompt)))
    column = {model: at for at, model in enumerate(models)}
    row = {prompt: at for at, prompt in enumerate(prompts)}
    texts = np.full(len(models) * len(prompts), None, object)
    at = once["prompt_id"].map(row).to_numpy() * len(models) + once["model"].map(column).to_numpy()
    texts[at] = [None if pd.isna(text) else str(text) for text in once["response"]]
    return Responses(models, prompts, pa.array(texts, pa.string()), seed, len(frame) - len(once))


def shares_of_equal_answers(responses: Responses, models: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of prompts on which other models give some models' answers, but for spaces, shape (S, M); themselves 1.

    Args:
        responses: The table.
        models: Columns of the models, shape (S,).
    """
    told = pc.ascii_trim_whitespace(pc.replace_substring_regex(responses.texts, r"\s+", " "))
    codes = told.dictionary_encode().indices.fill_null(-1).to_numpy()
    answers = codes.reshape(len(responses.prompts), -1)
    shares = np.empty((len(models), len(responses.models)))
    for at, model in enumerate(models):
        own = answers[:, [model]]
        both = (answers >= 0) & (own >= 0)
        shares[at] = ((answers == own) & both).sum(axis=0) / np.maximum(both.sum(axis=0), 1)
    return shares


def lengths_words(responses: Responses) -> npt.NDArray[np.float64]:
    """Words of each answer, shape (P, M); NaN where there is none."""
    counts = [np.nan if text is None else float(len(text.split())) for text in responses.texts.to_pylist()]
    return np.array(counts).reshape(len(responses.prompts), len(responses.models))
