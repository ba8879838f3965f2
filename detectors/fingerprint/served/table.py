"""Answers of a teacher, whom each was served to, and how likely a suspect finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard.errors import LineageError
from kdguard.lineage.tables import read_numbers
from kdguard.readers.handed import must_have

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLUMNS: Final = ("text_id", "account", "tokens")
READ: Final = ("model", "text_id", "logprob")
LIKELIHOOD, WORDING = "likelihood", "wording"
MEASURES: Final = {
    LIKELIHOOD: "likelier by {:+.3f} nats a token",
    WORDING: "nearer in wording by a cosine of {:+.3f}",
}
_RENAMED: Final = {
    "request_id": "text_id",
    "account_id": "account",
    "output_tokens": "tokens",
    "response": "text",
}


@dataclass(frozen=True, eq=False)
class Served:
    """Texts, and how much likelier a suspect finds each than clean models suggest.

    Attributes:
        accounts: Names of the accounts to be tested.
        account: Place of the account each text was served to, -1 = to nobody, beyond the names = one that is not
            tested, shape (n,).
        stratum: Texts are exchangeable within a stratum: one prompt's twins, one kind of prompt, shape (n,).
        surplus: What clean models do not explain of how near the suspect is to each text, shape (n,).
        clean: Clean models used.
        measure: Of the surplus, one of `MEASURES`.
    """

    accounts: tuple[str, ...]
    account: Ints
    stratum: Ints
    surplus: Floats
    clean: int
    measure: str = LIKELIHOOD

    def together(self, accounts: Sequence[str]) -> Served:
        """Some accounts taken as one, named beforehand; the others' texts stay as what they are compared with.

        Raises:
            LineageError: An account is not there.
        """
        missing = [name for name in accounts if name not in self.accounts]
        if missing:
            raise LineageError(
                f"no text was served to account '{missing[0]}'; there is {', '.join(self.accounts[:6])}"
            )
        chosen = [self.accounts.index(name) for name in accounts]
        account = np.where(self.account < 0, -1, np.where(np.isin(self.account, chosen), 0, 1))
        return replace(self, accounts=("+".join(accounts),), account=account)


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
    told = served_texts(texts, COLUMNS)
    must_have(list(likelihoods.columns), READ, "likelihoods", LineageError)
    wide = likelihoods[likelihoods["text_id"].isin(told["text_id"])].pivot_table(
        index="text_id", columns="model", values="logprob"
    )
    rates = wide.div(told.set_index("text_id")["tokens"].clip(lower=1), axis=0)
    return joined(told, rates, suspect, clean, LIKELIHOOD)


def served_texts(texts: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Texts, or exchanges, that were served or might have been; each once.

    Raises:
        LineageError: A column is missing.
    """
    told = texts.rename(columns={old: new for old, new in _RENAMED.items() if new not in texts.columns})
    if "use" in told.columns:
        told = told[told["use"].isin(["served", "withheld"])]
    must_have(list(told.columns), columns, "texts", LineageError)
    return told.drop_duplicates("text_id")


def joined(
    told: pd.DataFrame, near: pd.DataFrame, suspect: str, clean: Sequence[str], measure: str
) -> Served:
    """Join texts with how near models are to them.

    Args:
        told: As `served_texts` gives them.
        near: One column a model, rows by `text_id`.
        suspect: Model.
        clean: Clean models.
        measure: What `near` is measured in.

    Raises:
        LineageError: A model has no readings, or hardly any text is left.
    """
    absent = [name for name in (suspect, *clean) if name not in near.columns]
    if absent:
        raise LineageError(f"no readings of model '{absent[0]}' on these texts")
    models = [suspect, *clean]
    read = told.set_index("text_id").join(near[models].add_prefix("near "), how="inner")
    columns = [f"near {name}" for name in models]
    read = read.dropna(subset=columns)
    if len(read) < 20:
        raise LineageError(f"{len(read)} texts with readings of all models; a test needs 20")
    rates = read[columns].to_numpy(np.float64)
    names = tuple(sorted(map(str, read["account"].dropna().unique())))
    strata = read["stratum"] if "stratum" in read.columns else pd.Series(0, index=read.index)
    return Served(
        accounts=names,
        account=pd.Categorical(read["account"].astype("string"), names).codes.astype(np.int64),
        stratum=pd.factorize(strata)[0].astype(np.int64),
        surplus=_unexplained(rates[:, 0], rates[:, 1:]),
        clean=len(clean),
        measure=measure,
    )


def _unexplained(suspect: Floats, clean: Floats) -> Floats:
    """What is left of the suspect's readings after a ridge regression on the clean models'; knows no account."""
    centred = clean - clean.mean(axis=0)
    ridge = 1e-3 * np.eye(clean.shape[1]) * max(float((centred**2).sum()), 1e-12)
    slopes = np.linalg.solve(centred.T @ centred + ridge, centred.T @ suspect) if clean.size else np.zeros(0)
    return np.asarray(suspect - suspect.mean() - centred @ slopes, np.float64)
