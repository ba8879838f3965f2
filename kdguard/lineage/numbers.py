"""Suspects read in numbers: how much like each family each model reads at each item, and the verdicts that follow.

What a text test is to answers this is to log-probabilities and labels: a table of affinities, items by models by
families. The score is the lean towards the family's own readings, see `matched`; its rank among controls is the
verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.errors import LineageError
from kdguard.lineage.controls import Controls
from kdguard.lineage.families import Families
from kdguard.lineage.matched import lean_of_both
from kdguard.lineage.responses import Responses
from kdguard.lineage.run import Claim
from kdguard.lineage.scored import About, Place, evidence_of, nothing_said, place_of, verdict_of
from kdguard.lineage.verdict import LineageVerdict, adjusted

Floats = npt.NDArray[np.float64]
Score = Callable[[Floats, Floats, Floats, Floats], Floats]
"""From own, own of the teacher, against and against of the teacher to a score a model, treating all models alike."""

_ALL = Claim()

FEWEST_ITEMS = 20
_MOST_MISSING = 0.2
"""Controls that lack more of the items are left out; items that any of the others lacks are."""
_SAME = 0.99
"""A control with the suspect's very numbers at so many items is the suspect under another name."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Affinities read from M models at P items for K families.

    Attributes:
        models: Names, sorted.
        families: Names of the families.
        values: Shape (P, M, K), larger = more like the family; NaN = not read.
        asked_an_item: Queries to the suspect behind one item.
    """

    models: tuple[str, ...]
    families: tuple[str, ...]
    values: Floats
    asked_an_item: int = 1

    def first(self, queries: int) -> Numbers:
        """As far as so many queries go."""
        return replace(self, values=self.values[: max(queries // self.asked_an_item, 0)])


def named(models: Sequence[str]) -> Responses:
    """A table of models without any answer, to place families and controls on."""
    return Responses(tuple(models), ("",), pa.nulls(len(models), pa.string()))


def examine_numbers(
    numbers: Numbers,
    families: Families,
    controls: Controls,
    suspects: Sequence[str],
    about: About,
    claim: Claim = _ALL,
    score: Score = lean_of_both,
) -> tuple[LineageVerdict, ...]:
    """Test every suspect against every family asked for.

    Args:
        numbers: Read from teachers, controls and suspects alike; its families are those of `families`.
        families: Placed on the models of `numbers`, see `named`.
        controls: Controls of each family.
        suspects: Models to test.
        about: What a high score means.
        claim: What is asked.
        score: One of those in `matched`.

    Raises:
        LineageError: A suspect or family is not known.
    """
    if numbers.families != families.names:
        raise LineageError(
            f"readings of the families {', '.join(numbers.families)} do not fit {families.names}"
        )
    wanted = [families.names.index(_known(name, families.names)) for name in claim.named]
    asked = wanted or list(range(len(families)))
    found: list[LineageVerdict] = []
    for suspect in suspects:
        at = numbers.models.index(_known(suspect, numbers.models))
        tested = [family for family in asked if families.of_model[at] != family]
        places = {
            family: _place(readings_of(numbers, families, controls, at, family), score) for family in tested
        }
        ranked = {family: place for family, (place, _) in places.items() if place is not None}
        corrected = adjusted(
            [place.p_value for place in ranked.values()],
            [families.names[family] for family in ranked],
            adjust=claim.adjust and not claim.named,
        )
        p_adjusted = dict(zip(ranked, corrected, strict=True))
        paid_for = len(ranked) if claim.adjust and not claim.named else 1
        for family, (place, items) in places.items():
            name, queries = families.names[family], items * numbers.asked_an_item
            if place is None:
                reason = f"{items} items read from suspect, teacher and controls alike; a test needs {FEWEST_ITEMS}"
                found.append(nothing_said(suspect, name, reason, queries=queries))
                continue
            found.append(
                verdict_of(
                    suspect,
                    name,
                    place,
                    [evidence_of(place, about, suspect, name, queries)],
                    queries=queries,
                    alpha=claim.alpha,
                    p_adjusted=p_adjusted[family],
                    families_tested=paid_for,
                    told_apart=bool(controls.told_apart[family]),
                )
            )
    return tuple(found)


def readings_of(
    numbers: Numbers, families: Families, controls: Controls, suspect: int, family: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """What `lean_of_both` takes: own, own of the teacher, against, against of the teacher; the suspect last.

    Args:
        numbers: Read from all models.
        families: The families.
        controls: Controls of each family.
        suspect: Place of the suspect among the models.
        family: Place of the family.
    """
    own = numbers.values[:, :, family]
    others = families.other_vendor[family]
    against = own - numbers.values[:, :, others].mean(axis=2) if others.any() else own
    members = np.flatnonzero(families.of_model == family)
    pool = np.flatnonzero(controls.allowed[family])
    equal = (np.abs(own[:, pool] - own[:, [suspect]]) < 1e-12).mean(axis=0)
    varied = float(np.nanstd(own[:, pool])) > 0 if len(pool) else False
    pool = pool[(pool != suspect) & ((equal < _SAME) | (not varied))]
    read = ~np.isnan(against)
    pool = pool[read[:, pool].mean(axis=0) >= 1 - _MOST_MISSING]
    column = np.append(pool, suspect)
    items = read[:, column].all(axis=1) & read[:, members].any(axis=1)
    teacher = np.nanmean(own[items][:, members], axis=1), np.nanmean(against[items][:, members], axis=1)
    return own[items][:, column], teacher[0], against[items][:, column], teacher[1]


def _place(readings: tuple[Floats, Floats, Floats, Floats], score: Score) -> tuple[Place | None, int]:
    items, models = readings[0].shape
    return (place_of(score(*readings)) if items >= FEWEST_ITEMS and models > 1 else None), items


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise LineageError(f"nothing was read of '{name}'; there is {', '.join(names[:6])} (of {len(names)})")
    return name
