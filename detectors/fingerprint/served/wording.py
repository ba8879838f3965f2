"""The log link where only a suspect's answers are known: does it word them like what was served, or like its twins?

The suspect and some clean models answer the prompts behind the texts. How near each answer is to the text of its prompt
takes the place of the likelihood; everything after that is the same, and as exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from kdguard.detectors.fingerprint.grams import Stretch, gram_counts, weighted
from kdguard.detectors.fingerprint.served.table import WORDING, Served, joined, served_texts
from kdguard.errors import LineageError
from kdguard.readers.handed import must_have

_TEXTS: Final = ("text_id", "account", "text")
_ANSWERS: Final = ("model", "response")
_WHOLE: Final = Stretch("whole", longest=4)


def served_by_wording(
    texts: pd.DataFrame, answers: pd.DataFrame, suspect: str, clean: Sequence[str]
) -> Served:
    """Join texts with answers to their prompts.

    Args:
        texts: `text_id, account, text`, and `prompt_id` or `prompt`; perhaps `stratum`. Exchanges do as well.
        answers: `model, response`, and `prompt_id` or `prompt`; a model's first answer to a prompt counts.
        suspect: Model.
        clean: Models that never saw these texts; they take off what makes a text likely for anybody.

    Raises:
        LineageError: A column is missing, a model has no answers, or hardly any text is left.
    """
    told = served_texts(texts, _TEXTS).dropna(subset=["text"])
    must_have(list(answers.columns), _ANSWERS, "answers", LineageError)
    key = next((name for name in ("prompt_id", "prompt") if name in told and name in answers), None)
    if key is None:
        raise LineageError("texts and answers: both must have a column prompt_id, or both a column prompt")
    given = answers.dropna(subset=[key, "response"]).drop_duplicates(["model", key])
    bare = told[["text_id", "text", key]]
    pairs = bare.assign(key=bare[key].astype(str)).merge(
        given.assign(key=given[key].astype(str))[["model", "key", "response"]], on="key"
    )
    pairs["cosine"] = _cosines(pairs["text"], pairs["response"])
    near = pairs.pivot(index="text_id", columns="model", values="cosine")
    return joined(told, near, suspect, clean, WORDING)


def _cosines(texts: pd.Series[str], answers: pd.Series[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of each text and the answer beside it, by weighted runs of up to four words."""
    grams = weighted(gram_counts(pa.array([*texts.astype(str), *answers.astype(str)], pa.string()), _WHOLE))
    found = grams[: len(texts)].multiply(grams[len(texts) :]).sum(axis=1)
    return np.asarray(found, np.float64).ravel()
