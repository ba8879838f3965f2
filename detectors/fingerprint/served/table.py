"""Answers of a teacher, whom each was served to, and how likely a suspect finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard.errors import LineageError
from kdguard.lineage.tables import read_numbers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLUMNS: Final = ("text_id", "account", "tokens")
_RENAMED: Final = {"request_id": "text_id", "account_id": "account", "output_tokens": "tokens"}


@dataclass(frozen=True, eq=False)
class Served:
    """Texts, and how much likelier a suspect finds each than clean models suggest.

    Attributes:
        accounts: Names of the accounts, sorted.
        account: Place of the account each text was served to, -1 = to nobody, shape (n,).
        stratum: Texts are exchangeable within a stratum: one prompt's twins, one kind of prompt, shape (n,).
        surplus: Log-probability a token that clean models do not explain, nats, shape (n,).
        clean: Clean models used.
    """

    accounts: tuple[str, ...]
    account: Ints
    stratum: Ints
    surplus: Floats
    clean: int


def read_served(texts: Path, likelihoods: Path, suspect: str, clean: Sequence[str]) -> Served:
    """Read a table of texts, or exchanges, and one of readings; see `served_of` for their columns.

    Raises:
        LineageError: A table cannot be read, lacks a column, or a model has no readings.
    """
    return served_of(read_numbers(texts), read_numbers(likelihoods), suspect, clean)


def served_of(texts: pd.DataFrame, likelihoods: pd.DataFrame, suspect: str, clean: Sequence[str]) -> Served:
    """Join texts with readings.

    Args:
        texts: `text_id, account, tokens`, perhaps `stratum`; a null account = served to nobody. Exchanges do as well.
        likelihoods: `model, text_id, logprob`.
        suspect: Model.
        clean: Models that never saw these answers; they take off what makes a text likely for anybody.

    Raises:
        LineageError: A column is missing, a model has no readings, or hardly any text is left.
    """
    told = texts.rename(columns={old: new for old, new in _RENAMED.items() if new not in texts.columns})
    if "use" in told.columns:
        told = told[told["use"].isin(["served", "withheld"])]
    for name, wanted in (("texts", COLUMNS), ("likelihoods", ("model", "text_id", "logprob"))):
        frame = told if name == "texts" else likelihoods
        missing = [column for column in wanted if column not in frame.columns]
        if missing:
            raise LineageError(f"{name}: must have columns {', '.join(wanted)}; missing {', '.join(missing)}")
    wide = likelihoods[likelihoods["text_id"].isin(told["text_id"])].pivot_table(
        index="text_id", columns="model", values="logprob"
    )
    absent = [name for name in (suspect, *clean) if name not in wide.columns]
    if absent:
        raise LineageError(f"no readings of model '{absent[0]}' on these texts")
    read = told.drop_duplicates("text_id").set_index("text_id").join(wide[[suspect, *clean]], how="inner")
    read = read.dropna(subset=[suspect, *clean])
    if len(read) < 20:
        raise LineageError(f"{len(read)} texts with readings of all models; a test needs 20")
    rates = read[[suspect, *clean]].to_numpy(np.float64) / read[["tokens"]].clip(lower=1).to_numpy(np.float64)
    names = tuple(sorted(map(str, read["account"].dropna().unique())))
    strata = read["stratum"] if "stratum" in read.columns else pd.Series(0, index=read.index)
    return Served(
        accounts=names,
        account=pd.Categorical(read["account"].astype("string"), names).codes.astype(np.int64),
        stratum=pd.factorize(strata)[0].astype(np.int64),
        surplus=_unexplained(rates[:, 0], rates[:, 1:]),
        clean=len(clean),
    )


def _unexplained(suspect: Floats, clean: Floats) -> Floats:
    """What is left of the suspect's readings after a ridge regression on the clean models'; knows no account."""
    centred = clean - clean.mean(axis=0)
    ridge = 1e-3 * np.eye(clean.shape[1]) * max(float((centred**2).sum()), 1e-12)
    slopes = np.linalg.solve(centred.T @ centred + ridge, centred.T @ suspect) if clean.size else np.zeros(0)
    return np.asarray(suspect - suspect.mean() - centred @ slopes, np.float64)
