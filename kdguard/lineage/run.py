"""Test many suspects against many families, from stored answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.errors import LineageError
from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.betting import Bets, bet
from kdguard.lineage.contrast import contrasts, looks, means_at_looks
from kdguard.lineage.controls import SAME_ANSWERS, Controls
from kdguard.lineage.families import Families
from kdguard.lineage.protocol import Affinity
from kdguard.lineage.quality import unusable
from kdguard.lineage.ranking import Standing, stand
from kdguard.lineage.responses import Responses, shares_of_equal_answers
from kdguard.lineage.verdict import Lineage, LineageVerdict, adjusted, conclude

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is asked, and at which level.

    Attributes:
        alpha: Chance of a false claim for one suspect.
        named: Families named beforehand, each tested at alpha; empty = all of them.
        adjust: Correct over the families tested; families named beforehand need no correction.
    """

    alpha: float = 0.01
    named: tuple[str, ...] = ()
    adjust: bool = True


@dataclass(frozen=True, slots=True)
class _Tested:
    """One test of one family: where every suspect stands, and the bets on it."""

    test: Affinity
    standing: Standing
    bets: Bets


def run_tests(
    responses: Responses,
    families: Families,
    controls: Controls,
    suspects: Sequence[str],
    tests: Sequence[Affinity],
    claim: Claim = Claim(),
) -> tuple[LineageVerdict, ...]:
    """Test every suspect against every family asked for.

    Args:
        responses: Answers of teachers, controls and suspects.
        families: Teacher families.
        controls: Controls of each family.
        suspects: Models to test.
        tests: At least one; for each family one of them drives the verdict, see `Affinity.for_much_imitated`.
        claim: What is asked.

    Returns:
        One verdict a suspect and family, suspects in the given order, families in the file's.

    Raises:
        LineageError: A suspect has no answers, or a family is not known.
    """
    columns = np.array([responses.place(name) for name in suspects], np.int64)
    wanted = _wanted(families, claim.named)
    allowed = _allowed(responses, families, controls, columns)
    tested: dict[int, list[_Tested]] = {family: [] for family in wanted}
    for test in tests:
        contrast = contrasts(test.affinities(responses, families), families)
        means = means_at_looks(contrast)
        for family in wanted:
            standing = stand(means[:, :, family], looks(len(contrast)), columns, allowed[family])
            pool = np.flatnonzero(controls.allowed[family])
            bets = bet(contrast[:, :, family], columns, pool, claim.alpha)
            tested[family].append(_Tested(test, standing, bets))
    unfit = [unusable(responses, int(column)) for column in columns]
    verdicts = []
    for at, suspect in enumerate(suspects):
        verdicts += _of_suspect(at, suspect, unfit[at], tested, families, controls, responses, claim)
    return tuple(verdicts)


def _wanted(families: Families, named: Sequence[str]) -> list[int]:
    unknown = [name for name in named if name not in families.names]
    if unknown:
        raise LineageError(f"no family '{unknown[0]}' with answers; families are {', '.join(families.names)}")
    return [families.names.index(name) for name in named] or list(range(len(families)))


def _allowed(
    responses: Responses, families: Families, controls: Controls, columns: Ints
) -> npt.NDArray[np.bool_]:
    """Controls of each family for each suspect, shape (K, S, M): never itself, nor itself under another name."""
    equal = np.stack([shares_of_equal_answers(responses, int(column)) for column in columns])
    other = equal < SAME_ANSWERS
    other[np.arange(len(columns)), columns] = False
    return controls.allowed[:, None, :] & other[None]


def _of_suspect(
    at: int,
    suspect: str,
    unfit: str | None,
    tested: dict[int, list[_Tested]],
    families: Families,
    controls: Controls,
    responses: Responses,
    claim: Claim,
) -> list[LineageVerdict]:
    driving = {family: _driving(family, each, families) for family, each in tested.items()}
    own = int(families.of_model[responses.place(suspect)])
    p_values = {
        family: float(one.standing.p_at_look[-1, at]) for family, one in driving.items() if family != own
    }
    names = [families.names[family] for family in p_values]
    corrected = adjusted(list(p_values.values()), names, adjust=claim.adjust and not claim.named)
    tested_for = len(p_values) if claim.adjust and not claim.named else 1
    verdicts = []
    for (family, p_value), p_adjusted in zip(p_values.items(), corrected, strict=True):
        one, count = driving[family], int(driving[family].standing.controls[at])
        verdict, reason = conclude(
            p_adjusted, count, tested_for, claim.alpha, told_apart=bool(controls.told_apart[family])
        )
        if unfit is not None:
            verdict, reason = Lineage.INCONCLUSIVE, unfit
        usable = unfit is None and not np.isnan(one.standing.score[at])
        verdicts.append(
            LineageVerdict(
                suspect=suspect,
                teacher_family=families.names[family],
                verdict=verdict if usable or unfit else Lineage.INCONCLUSIVE,
                reason=reason
                if usable or unfit
                else "no prompt was answered by suspect, family and controls alike",
                p_value=p_value if usable else None,
                p_adjusted=p_adjusted if usable else None,
                p_floor=1.0 / (count + 1.0),
                log10_e=round(float(one.bets.log10_e[at]), 6) if usable else None,
                score=round(float(one.standing.score[at]), 6) if usable else None,
                queries=_queries(one.standing.p_at_look[:, at], verdict, claim.alpha, tested_for, responses),
                controls=count,
                families_tested=tested_for,
                evidence=tuple(
                    item
                    for each in sorted(tested[family], key=lambda each: each is not one)
                    for item in _evidence(each, at, suspect, families.names[family], responses, claim.alpha)
                ),
            )
        )
    return verdicts


def _driving(family: int, tested: Sequence[_Tested], families: Families) -> _Tested:
    """The test whose rank is the verdict on a family."""
    imitated = bool(families.much_imitated[family])
    return next((one for one in tested if one.test.for_much_imitated == imitated), tested[0])


def _queries(p_at_look: Floats, verdict: Lineage, alpha: float, tested_for: int, responses: Responses) -> int:
    """Prompts at the first look that would have decided; all of them where none did."""
    counts = looks(len(responses.prompts))
    if verdict is not Lineage.SUPPORTED:
        return counts[-1]
    decided = np.flatnonzero(p_at_look * tested_for <= alpha)
    return counts[int(decided[0])] if len(decided) else counts[-1]


def _evidence(
    one: _Tested, at: int, suspect: str, family: str, responses: Responses, alpha: float
) -> tuple[Evidence, ...]:
    standing = one.standing
    if np.isnan(standing.score[at]):
        return ()
    above, count = int(standing.above[at]), int(standing.controls[at])
    rank = Evidence(
        detector=one.test.name,
        version=one.test.version,
        subject=suspect,
        guarantee=Guarantee.CONFORMAL,
        score=round(float(standing.score[at]), 6),
        p_value=float(standing.p_fixed[at]),
        p_floor=1.0 / (count + 1.0),
        n=len(responses.prompts),
        summary=f"{one.test.summary} {family}: {above} of {count} controls stand as high over all prompts",
    )
    backing = "" if one.bets.backed else "; too few controls back the margin"
    wager = Evidence(
        detector=f"{one.test.name}.bet",
        version=one.test.version,
        subject=suspect,
        guarantee=Guarantee.DESCRIPTIVE,
        score=round(float(one.bets.log10_e[at]), 6),
        log10_e=round(float(one.bets.log10_e[at]), 6),
        n=len(responses.prompts),
        summary=(
            f"a bet that ranks exceed a half by more than {one.bets.margin:.2f}, as {alpha:g} of controls do: a false "
            f"claim has that chance and the bet's{backing}"
        ),
    )
    return rank, wager
