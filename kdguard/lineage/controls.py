"""Which models a suspect is ranked among: models without a known link to the family."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard.errors import LineageError
from kdguard.lineage.families import Families
from kdguard.lineage.responses import Responses
from kdguard.lineage.tables import read_frame

DEFAULT_KINDS = ("student_pool", "teacher_of_other_vendor")
SAME_ANSWERS = 0.5
"""A control that gives a suspect's exact answer on so many prompts is the suspect under another name."""


@dataclass(frozen=True)
class Controls:
    """Controls of each family.

    Attributes:
        allowed: Whether model m is a control of family f, shape (K, M).
        told_apart: Whether it is documented for each family that its controls have no link to it, shape (K,).
    """

    allowed: npt.NDArray[np.bool_]
    told_apart: npt.NDArray[np.bool_]


def read_controls(path: Path) -> pd.DataFrame:
    """Read a table `teacher_family, control, kind` from CSV, Parquet or JSON lines.

    Raises:
        LineageError: It cannot be read or lacks a column.
    """
    return read_frame(path, ("teacher_family", "control", "kind"))


def listed_controls(
    table: pd.DataFrame, kinds: Collection[str], families: Families, responses: Responses
) -> Controls:
    """Controls that a file names, of the kinds asked for, as far as they have answers.

    Raises:
        LineageError: A kind asked for is nowhere in the file.
    """
    unknown = sorted(set(kinds) - set(table["kind"]))
    if unknown:
        have = ", ".join(sorted({str(kind) for kind in table["kind"] if kind})) or "none in its column 'kind'"
        raise LineageError(f"no control is of kind {', '.join(unknown)}; the file has {have}")
    family = {name: at for at, name in enumerate(families.names)}
    model = {name: at for at, name in enumerate(responses.models)}
    allowed = np.zeros((len(families), len(model)), np.bool_)
    chosen = table[table["kind"].isin(list(kinds))]
    for teacher, control in zip(
        chosen["teacher_family"].astype(str), chosen["control"].astype(str), strict=True
    ):
        if teacher in family and control in model:
            allowed[family[teacher], model[control]] = True
    return Controls(_without_members(allowed, families), np.ones(len(families), np.bool_))


def derived_controls(families: Families) -> Controls:
    """Every model outside a family, where no file says which; claims need a vendor or base that tells each apart."""
    allowed = _without_members(np.ones((len(families), len(families.of_model)), np.bool_), families)
    known = families.of_model >= 0
    apart = np.zeros_like(allowed)
    apart[:, known] = (
        families.other_vendor[:, families.of_model[known]]
        & np.array([[bool(family.vendor) for family in families.each]]).T
    )
    told = np.array([bool((~allowed[at] | apart[at]).all()) for at in range(len(families))])
    return Controls(allowed, told)


def _without_members(allowed: npt.NDArray[np.bool_], families: Families) -> npt.NDArray[np.bool_]:
    members = families.of_model[None, :] == np.arange(len(families))[:, None]
    return allowed & ~members
