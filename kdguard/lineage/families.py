"""Families of teachers: siblings under one name, with what is documented of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.errors import LineageError
from kdguard.lineage.responses import Responses

MUCH_IMITATED = 2
"""A family counts as much imitated when at least so many other vendors' families are documented to have learnt from
its vendor's outputs: then ordinary models carry its traces, and only what tells it from its imitators can speak."""


@dataclass(frozen=True, slots=True)
class Family:
    """Teachers that no test tells apart.

    Attributes:
        name: Name of the family.
        members: Models whose answers stand for it.
        vendor: Who makes it; empty = not told.
        base: Pretrained base; empty = not told.
        output_lineage: Vendors on whose outputs it is documented to have been trained.
    """

    name: str
    members: tuple[str, ...]
    vendor: str = ""
    base: str = ""
    output_lineage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Families:
    """K families over the models of one table.

    Attributes:
        each: The families that have at least one member in the table.
        of_model: Family of each model, -1 = none, shape (M,).
        absent: Families none of whose members has answers.
    """

    each: tuple[Family, ...]
    of_model: npt.NDArray[np.int64]
    absent: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.each)

    @property
    def names(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(family.name for family in self.each)

    @property
    def other_vendor(self) -> npt.NDArray[np.bool_]:
        """Whether family g is of another vendor than f, shape (K, K); a vendor not told is nobody else's."""
        vendor = np.array([family.vendor or f"\0{family.name}" for family in self.each])
        return vendor[:, None] != vendor[None, :]

    @property
    def imitates(self) -> npt.NDArray[np.bool_]:
        """Whether family g is documented to have learnt from the outputs of family f's vendor, shape (K, K)."""
        return np.array(
            [
                [bool(one.vendor) and one.vendor in other.output_lineage for other in self.each]
                for one in self.each
            ]
        )

    @property
    def competitors(self) -> npt.NDArray[np.bool_]:
        """Whether family g is alike f for no documented reason: another vendor's, not learnt from f's, shape (K, K)."""
        return self.other_vendor & ~self.imitates

    @property
    def much_imitated(self) -> npt.NDArray[np.bool_]:
        """Which families many others are documented to have learnt from, shape (K,)."""
        return np.asarray((self.imitates & self.other_vendor).sum(axis=1) >= MUCH_IMITATED)


def read_families(path: Path) -> tuple[Family, ...]:
    """Read a TOML file of one table a family, `[name]` with `members`; unknown keys are ignored.

    Raises:
        LineageError: It is no TOML, or a family has no members.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LineageError(f"{path}: must be a TOML file of families, got: {error}") from error
    return families_from(told, name=str(path))


def families_from(told: Mapping[str, Any], *, name: str = "families") -> tuple[Family, ...]:
    """Families from plain values.

    Raises:
        LineageError: There is none, or one has no members.
    """
    if not told:
        raise LineageError(f"{name}: must have one table a family, [name] with members = [...]; got none")
    found = []
    for family, table in told.items():
        members = table.get("members") if isinstance(table, Mapping) else None
        if not isinstance(members, list) or not members or not all(isinstance(one, str) for one in members):
            raise LineageError(f"{name}: family '{family}' must have members = [model, ...], got {members!r}")
        found.append(
            Family(
                family,
                tuple(members),
                str(table.get("vendor") or ""),
                str(table.get("base") or ""),
                tuple(map(str, table.get("output_lineage") or ())),
            )
        )
    return tuple(found)


def place_families(families: Sequence[Family], responses: Responses) -> Families:
    """Join families with the models that have answers.

    Raises:
        LineageError: No family has a member with answers, or a model is a member of two.
    """
    known = {model: at for at, model in enumerate(responses.models)}
    of_model = np.full(len(known), -1, np.int64)
    present = [family for family in families if any(member in known for member in family.members)]
    if not present:
        raise LineageError(
            "no member of any family has answers; the first family's are "
            f"{', '.join(families[0].members) if families else 'none'}"
        )
    for at, family in enumerate(present):
        for member in dict.fromkeys(family.members):
            if member not in known:
                continue
            if of_model[known[member]] >= 0:
                raise LineageError(
                    f"model '{member}' must be in one family, is in '{present[of_model[known[member]]].name}' and "
                    f"'{family.name}'"
                )
            of_model[known[member]] = at
    absent = tuple(family.name for family in families if family not in present)
    return Families(tuple(present), of_model, absent)
