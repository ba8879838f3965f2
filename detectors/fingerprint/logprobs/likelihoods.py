"""How likely a model finds each family's answers to the same prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard.errors import LineageError
from kdguard.lineage.families import Family
from kdguard.lineage.numbers import Numbers
from kdguard.lineage.scored import About
from kdguard.lineage.tables import read_numbers

Floats = npt.NDArray[np.float64]

LIKELIHOOD: Final = About(
    name="logprobs.likelihood", version="2", summary="finds likely what controls do not, in the answers of"
)
TEXTS: Final = ("text_id", "family", "prompt_id", "tokens")
READ: Final = ("model", "text_id", "logprob")


def read_likelihoods(texts: Path, likelihoods: Path, families: Sequence[Family], *, seed: int = 0) -> Numbers:
    """Read two Parquet tables: texts (`text_id, family, prompt_id, tokens`) and readings (`model, text_id, logprob`).

    Where the texts have a column `use`, those of use `probe` are taken.

    Raises:
        LineageError: A table cannot be read or lacks a column.
    """
    told, found = read_numbers(texts, TEXTS), read_numbers(likelihoods, READ)
    if "use" in told.columns:
        told = told[told["use"] == "probe"]
    return likelihoods_of(told, found, families, seed=seed)


def likelihoods_of(
    texts: pd.DataFrame, likelihoods: pd.DataFrame, families: Sequence[Family], *, seed: int = 0
) -> Numbers:
    """Log-probability a token of each family's answer to each prompt, under each model.

    Args:
        texts: `text_id, family, prompt_id, tokens`; one text a family and prompt.
        likelihoods: `model, text_id, logprob`, nats over the whole text.
        families: In the order wanted.
        seed: Public, of the order of prompts.

    Raises:
        LineageError: A family has no text, or a log-probability is above zero.
    """
    known = [family.name for family in families if (texts["family"] == family.name).any()]
    if len(known) < len(families):
        missing = next(family.name for family in families if family.name not in known)
        raise LineageError(f"no text of family '{missing}' among the texts; it cannot be tested")
    if (likelihoods["logprob"] > 0).any():
        raise LineageError(
            "log-probabilities must be at most 0, in nats; some are above: are they probabilities?"
        )
    joined = likelihoods.merge(texts[list(TEXTS)], on="text_id")
    joined["rate"] = joined["logprob"] / joined["tokens"].clip(lower=1)
    models = tuple(sorted(joined["model"].astype(str).unique()))
    prompts = sorted(texts["prompt_id"].dropna().unique(), key=lambda one: _draw(seed, str(one)))
    values = np.full((len(prompts), len(models), len(known)), np.nan)
    place = (
        pd.Categorical(joined["prompt_id"], prompts).codes,
        pd.Categorical(joined["model"].astype(str), models).codes,
        pd.Categorical(joined["family"], known).codes,
    )
    kept = np.all([code >= 0 for code in place], axis=0)
    values[place[0][kept], place[1][kept], place[2][kept]] = joined["rate"].to_numpy(np.float64)[kept]
    return Numbers(models, tuple(known), values, asked_an_item=len(known))


def _draw(seed: int, prompt: str) -> bytes:
    return hashlib.blake2b(f"kdguard logprobs/{seed}/{prompt}".encode(), digest_size=8).digest()
