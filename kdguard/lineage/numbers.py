"""Suspects read in numbers: how much like each family each model reads at each item, and the verdicts that follow.

What a text test is to answers this is to log-probabilities and labels: a table of affinities, items by models by
families. The score is the lean towards the family's own readings, see `matched`; its rank among controls is the
verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.errors import LineageError
from kdguard.lineage.controls import Controls
from kdguard.lineage.families import Families
from kdguard.lineage.kinship import kinship, kinship_evidence, where_controls_fit, where_it_stands_far
from kdguard.lineage.matched import LEAN_OF_BOTH, Affinities, Score
from kdguard.lineage.responses import Responses
from kdguard.lineage.run import Claim
from kdguard.lineage.scored import About, evidence_of, nothing_said, place_of, verdict_of
from kdguard.lineage.verdict import LineageVerdict, adjusted

Floats = npt.NDArray[np.float64]
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


@dataclass(frozen=True, eq=False)
class Read:
    """What one suspect is ranked by in one family.

    Attributes:
        family: Name of the family.
        told_apart: It is documented that no control has a link to it.
        queries: Asked of the suspect.
        own: Affinities to the family.
        against: The same, less those to other vendors' families.
        elsewhere: Affinities to the other families, shape (q, m + 1), the suspect last.
    """

    family: str
    told_apart: bool
    queries: int
    own: Affinities
    against: Affinities
    elsewhere: Floats

    def __len__(self) -> int:
        """Items read from suspect, teacher and controls alike."""
        return len(self.own.models)

    @property
    def is_enough(self) -> bool:
        """Whether there is anything to rank."""
        return len(self) >= FEWEST_ITEMS and self.own.models.shape[1] > 1


def examine_numbers(
    numbers: Numbers,
    families: Families,
    controls: Controls,
    suspects: Sequence[str],
    about: About,
    claim: Claim = _ALL,
    score: Score = LEAN_OF_BOTH,
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
        reads = [
            readings_of(numbers, families, controls, at, family, score)
            for family in asked
            if families.of_model[at] != family
        ]
        found += _concluded(suspect, reads, about, claim, score)
    return tuple(found)


def _concluded(
    suspect: str, reads: Sequence[Read], about: About, claim: Claim, score: Score
) -> list[LineageVerdict]:
    """Verdicts on one suspect, corrected over the families in which it could be ranked."""
    places = {read.family: place_of(score.of(read.own, read.against)) for read in reads if read.is_enough}
    adjust = claim.adjust and not claim.named
    corrected = adjusted([place.p_value for place in places.values()], list(places), adjust=adjust)
    p_adjusted = dict(zip(places, corrected, strict=True))
    found = []
    for read in reads:
        if not read.is_enough:
            reason = f"{len(read)} items read from suspect, teacher and controls alike; a test needs {FEWEST_ITEMS}"
            found.append(nothing_said(suspect, read.family, reason, queries=read.queries))
            continue
        place, kin = places[read.family], kinship(read.elsewhere)
        verdict = verdict_of(
            suspect,
            read.family,
            place,
            [
                evidence_of(place, about, suspect, read.family, read.queries),
                kinship_evidence(kin, suspect, read.family, read.queries),
            ],
            queries=read.queries,
            alpha=claim.alpha,
            p_adjusted=p_adjusted[read.family],
            families_tested=len(places) if adjust else 1,
            told_apart=read.told_apart,
        )
        fitting = where_controls_fit(verdict, kin, claim.alpha)
        found.append(where_it_stands_far(fitting) if score.claims_far_alone else fitting)
    return found


def readings_of(
    numbers: Numbers,
    families: Families,
    controls: Controls,
    suspect: int,
    family: int,
    score: Score = LEAN_OF_BOTH,
) -> Read:
    """What a score takes.

    Args:
        numbers: Read from all models.
        families: The families.
        controls: Controls of each family.
        suspect: Place of the suspect among the models.
        family: Place of the family.
        score: What will be ranked.
    """
    own = numbers.values[:, :, family]
    others = families.other_vendor[family]
    elsewhere = numbers.values[:, :, others]
    against = own - elsewhere.mean(axis=2) if others.any() else own
    members = np.flatnonzero(families.of_model == family)
    foils = np.flatnonzero((families.of_model >= 0) & others[families.of_model])
    foils = foils[foils != suspect]
    allowed = controls.allowed[family].copy()
    allowed[[suspect, *(foils if score.uses_foils else ())]] = False
    pool = np.flatnonzero(allowed)
    equal = (np.abs(own[:, pool] - own[:, [suspect]]) < 1e-12).mean(axis=0)
    varied = float(np.nanstd(own[:, pool])) > 0 if len(pool) else False
    pool = pool[(equal < _SAME) | (not varied)]
    read = ~np.isnan(against)
    pool = pool[read[:, pool].mean(axis=0) >= 1 - _MOST_MISSING]
    column = np.append(pool, suspect)
    foils = foils[read[:, foils].mean(axis=0) >= 1 - _MOST_MISSING]
    items = read[:, [*column, *foils]].all(axis=1) & read[:, members].any(axis=1)

    def cut(values: Floats) -> Affinities:
        kept = values[items]
        return Affinities(kept[:, column], np.nanmean(kept[:, members], axis=1), kept[:, foils])

    apart = np.moveaxis(elsewhere[items][:, column], 2, 1).reshape(-1, len(column))
    return Read(
        family=families.names[family],
        told_apart=bool(controls.told_apart[family]),
        queries=int(items.sum()) * numbers.asked_an_item,
        own=cut(own),
        against=cut(against),
        elsewhere=apart,
    )


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise LineageError(f"nothing was read of '{name}'; there is {', '.join(names[:6])} (of {len(names)})")
    return name
