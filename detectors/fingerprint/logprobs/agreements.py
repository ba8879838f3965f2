"""What answers come down to: whether a model decides as each family does, prompt by prompt."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from kdguard.errors import LineageError
from kdguard.lineage.families import Families
from kdguard.lineage.numbers import Numbers
from kdguard.lineage.scored import About
from kdguard.readers.handed import must_have

LABELS: Final = About(
    name="labels.decisions", version="1", summary="decides where controls decide otherwise, as"
)
_COLUMNS: Final = ("model", "prompt_id", "label")


def agreements(labels: pd.DataFrame, families: Families, models: tuple[str, ...]) -> Numbers:
    """Share of a family's members whose label each model gives, 0 or 1 for one member.

    Args:
        labels: `model, prompt_id, label`: a number, an intent, a tool, whether it refuses; null = cannot be told.
        families: Placed on `models`.
        models: Names, sorted.

    Raises:
        LineageError: A column is missing.
    """
    must_have(list(labels.columns), _COLUMNS, "labels", LineageError)
    table = labels.assign(model=labels["model"].astype(str)).drop_duplicates(["model", "prompt_id"])
    wide = table.pivot(index="prompt_id", columns="model", values="label").reindex(columns=list(models))
    said = wide.to_numpy(object)
    told = ~pd.isna(wide).to_numpy()
    values = np.full((*said.shape, len(families)), np.nan)
    for family in range(len(families)):
        members = np.flatnonzero(families.of_model == family)
        same = (said[:, :, None] == said[:, None, members]).astype(np.float64)
        known = told[:, :, None] & told[:, None, members]
        count = known.sum(axis=2)
        values[:, :, family] = np.where(count > 0, (same * known).sum(axis=2) / np.maximum(count, 1), np.nan)
    return Numbers(models, families.names, values)
