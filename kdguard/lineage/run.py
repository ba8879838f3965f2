"""Test many suspects against many families, from stored answers."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.errors import LineageError
from kdguard.lineage.betting import Bets, bet, no_bets
from kdguard.lineage.conclusion import Question, Subject, Tested, concluded
from kdguard.lineage.consistency import consistent
from kdguard.lineage.contrast import contrasts, ends_of_looks, means_at_looks
from kdguard.lineage.controls import SAME_ANSWERS, Controls
from kdguard.lineage.families import Families
from kdguard.lineage.protocol import Affinity
from kdguard.lineage.quality import unusable
from kdguard.lineage.ranking import stand_over
from kdguard.lineage.responses import Responses, shares_of_equal_answers
from kdguard.lineage.verdict import LineageVerdict, checked_level

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


FEWEST_SHARED = 0.5
"""Share of a suspect's prompts that a control must have answered: over few prompts a mean strays further."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is asked, and at which level.

    Attributes:
        alpha: Chance of a false claim for one suspect.
        named: Families named beforehand, each tested at alpha; empty = all of them.
        adjust: Correct over the families tested; families named beforehand need no correction.
        asked: Prompts the suspects have been asked, where asking stopped early; None = all of the table's. Controls
            keep all of theirs: a rank under optional stopping needs their suprema over every look.

    Raises:
        LineageError: Alpha is no level of a test.
    """

    alpha: float = 0.01
    named: tuple[str, ...] = ()
    adjust: bool = True
    asked: int | None = None

    def __post_init__(self) -> None:
        checked_level(self.alpha)


def run_tests(
    responses: Responses,
    families: Families,
    controls: Controls,
    suspects: Sequence[str],
    tests: Sequence[Affinity],
    claim: Claim = Claim(),
    *,
    workers: int = 1,
) -> tuple[LineageVerdict, ...]:
    """Test every suspect against every family asked for.

    Args:
        responses: Answers of teachers, controls and suspects.
        families: Teacher families.
        controls: Controls of each family.
        suspects: Models to test.
        tests: At least one; for each family one of them drives the verdict, see `Affinity.for_much_imitated`.
        claim: What is asked.
        workers: Processes; a test is one piece of work. The verdicts are the same whatever it is.

    Returns:
        One verdict a suspect and family, suspects in the given order, families in the file's.

    Raises:
        LineageError: A suspect has no answers, or a family is not known.
    """
    columns = np.array([responses.place(name) for name in suspects], np.int64)
    wanted = _wanted(families, claim.named)
    asked = claim.asked or len(responses.prompts)
    lots = _lots(responses, columns, asked)
    cohort = _Cohort(
        responses, families, columns, lots, _allowed(responses, controls, columns, asked), claim.alpha
    )
    tested = _tested(tests, cohort, workers)
    own = families.of_model[columns][:, None] == np.arange(len(families))
    alike = consistent(np.where(own, np.nan, _scores(cohort, tested)), families)
    question = Question(
        families,
        controls,
        claim.alpha,
        corrected=claim.adjust and not claim.named,
        asked=asked,
        models=responses.models,
    )
    verdicts: list[list[LineageVerdict]] = [[] for _ in suspects]
    for lot, of_lot in zip(lots, tested, strict=True):
        for place, at in enumerate(map(int, lot.places)):
            mine = {family: of_lot[family] for family in wanted if not own[at, family]}
            unfit = unusable(responses, int(columns[at]))
            subject = Subject(suspects[at], place, unfit, alike[at], lot.heard[:asked], lot.ends)
            verdicts[at] = concluded(subject, mine, question)
    return tuple(one for each in verdicts for one in each)


def _wanted(families: Families, named: Sequence[str]) -> list[int]:
    unknown = [name for name in named if name not in families.names]
    if unknown:
        raise LineageError(f"no family '{unknown[0]}' with answers; families are {', '.join(families.names)}")
    return [families.names.index(name) for name in named] or list(range(len(families)))


@dataclass(frozen=True, slots=True)
class _Lot:
    """Suspects that answered the same prompts.

    A mean over few prompts strays further than one over many, so suspect and controls are compared over the same ones.

    Attributes:
        places: Among the suspects.
        heard: Which prompts they answered, shape (P,); those that nobody has asked them yet count as answered.
    """

    places: Ints
    heard: Bools

    @property
    def ends(self) -> tuple[int, ...]:
        """Prompts asked by each look."""
        return ends_of_looks(self.heard)


def _lots(responses: Responses, columns: Ints, asked: int) -> list[_Lot]:
    heard = responses.answered[:, columns]
    heard[asked:] = True
    patterns, lot_of = np.unique(heard, axis=1, return_inverse=True)
    return [_Lot(np.flatnonzero(lot_of == at), patterns[:, at]) for at in range(patterns.shape[1])]


@dataclass(frozen=True, slots=True)
class _Cohort:
    """Who is tested, among whom, on which answers."""

    responses: Responses
    families: Families
    columns: Ints
    lots: Sequence[_Lot]
    allowed: Bools
    alpha: float


def _scores(cohort: _Cohort, tested: Sequence[Sequence[Sequence[Tested]]]) -> Floats:
    """Score of every suspect for each family, shape (S, K)."""
    scores = np.empty((len(cohort.columns), len(cohort.families)))
    for lot, of_lot in zip(cohort.lots, tested, strict=True):
        scores[lot.places] = np.stack([each[0].standing.score for each in of_lot], axis=1)
    return scores


def _tested(tests: Sequence[Affinity], cohort: _Cohort, workers: int) -> list[list[list[Tested]]]:
    """What every test says of each lot and family, the one that drives the family's verdict first."""
    if workers > 1 and len(tests) > 1:
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(tests)), mp_context=spawned) as pool:
            stands = list(pool.map(_stands, tests, [cohort] * len(tests)))
    else:
        stands = [_stands(test, cohort) for test in tests]
    much_imitated = cohort.families.much_imitated
    return [
        [
            _driving_first([each[family] for each in of_lot if family in each], bool(much_imitated[family]))
            for family in range(len(cohort.families))
        ]
        for of_lot in zip(*stands, strict=True)
    ]


def _driving_first(tested: Sequence[Tested], much_imitated: bool) -> list[Tested]:
    """The first test made for such a family drives its verdict."""
    driving = next((one for one in tested if one.test.for_much_imitated == much_imitated), tested[0])
    return [driving, *(one for one in tested if one is not driving)]


def _stands(test: Affinity, cohort: _Cohort) -> list[dict[int, Tested]]:
    """Where the suspects of each lot stand by one test, by family."""
    families, columns = cohort.families, cohort.columns
    wanted = np.flatnonzero(families.much_imitated | (not test.for_much_imitated))
    means: list[list[tuple[Floats, Bools]]] = [[] for _ in cohort.lots]
    bets: dict[int, Bets] = {}
    for reading in test.readings(cohort.responses, families, wanted) if len(wanted) else ():
        contrast = reading.affinities if test.contrasted else contrasts(reading.affinities, families)
        for lot, of_lot in zip(cohort.lots, means, strict=True):
            of_lot.append((means_at_looks(contrast, lot.heard), reading.ranks))
        for family in map(int, wanted):
            pool = np.flatnonzero(cohort.allowed[family].any(axis=0) & reading.ranks[:, family])
            if family not in bets and len(pool):
                bets[family] = bet(contrast[:, :, family], columns, pool, cohort.alpha)
    found: list[dict[int, Tested]] = [{} for _ in cohort.lots]
    for lot, of_lot, by_family in zip(cohort.lots, means, found, strict=True):
        for family in map(int, wanted):
            readings = [(mean[:, :, family], ranks[:, family]) for mean, ranks in of_lot]
            among = cohort.allowed[family, lot.places]
            standing = stand_over(readings, lot.ends, columns[lot.places], among)
            on = bets.get(family) or no_bets(len(columns))
            by_family[family] = Tested(test, standing, on.among(lot.places))
    return found


def _allowed(responses: Responses, controls: Controls, columns: Ints, asked: int) -> Bools:
    """Controls of each family for each suspect, shape (K, S, M).

    Never itself, nor itself under another name, nor who answered hardly any of its prompts.
    """
    answered = responses.answered[:asked].astype(np.float64)
    other = shares_of_equal_answers(responses, columns) < SAME_ANSWERS
    other &= answered[:, columns].T @ answered >= FEWEST_SHARED * answered[:, columns].sum(axis=0)[:, None]
    other[np.arange(len(columns)), columns] = False
    return controls.allowed[:, None, :] & other[None]
