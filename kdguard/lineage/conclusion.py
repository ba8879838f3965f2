"""From where one suspect stands to its verdicts, family by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.betting import Bets
from kdguard.lineage.consistency import LEAST_GAP, LEAST_SCORE, NAMED_WRONGLY
from kdguard.lineage.controls import Controls
from kdguard.lineage.families import Families
from kdguard.lineage.protocol import Affinity
from kdguard.lineage.ranked import ranked_of
from kdguard.lineage.ranking import Standing
from kdguard.lineage.verdict import Lineage, LineageVerdict, adjusted, conclude

_NOTHING_SHARED = "no prompt was answered by suspect, family and controls alike"
_NO_CONTROL = "no control of the family has answers: --controls must name models of the table for it"
_NO_RIVAL = (
    "no family of another vendor has answers, so likeness to this one cannot be told from what all answers share: list "
    "rival families, with a vendor each"
)


@dataclass(frozen=True, slots=True)
class Tested:
    """One test of one family: where every suspect stands, and the bets on it."""

    test: Affinity
    standing: Standing
    bets: Bets


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every suspect.

    Attributes:
        families: Teacher families.
        controls: Controls of each family.
        alpha: Chance of a false claim for one suspect.
        corrected: Whether it is paid for that many families are tested.
        asked: Prompts that the suspects were asked.
        models: Names of all models of the table.
    """

    families: Families
    controls: Controls
    alpha: float
    corrected: bool
    asked: int
    models: Sequence[str]


@dataclass(frozen=True, slots=True)
class Subject:
    """One suspect.

    Attributes:
        name: Model.
        at: Place among the suspects that standings and bets are about.
        unfit: Why its answers cannot be tested; None = they can.
        alike: Whether it is consistent with each family, shape (K,).
        heard: Which of the prompts asked it answered, in their order.
        ends: Prompts asked by each look, those to come included.
    """

    name: str
    at: int
    unfit: str | None
    alike: npt.NDArray[np.bool_]
    heard: npt.NDArray[np.bool_]
    ends: Sequence[int]

    @property
    def last_look(self) -> int:
        """Place of the last look that the prompts asked allow; the first where they allow none."""
        return max(int(np.searchsorted(self.ends, len(self.heard), side="right")) - 1, 0)

    @property
    def answers(self) -> int:
        """Prompts that it answered."""
        return int(self.heard.sum())


def concluded(
    subject: Subject, tested: Mapping[int, Sequence[Tested]], question: Question
) -> list[LineageVerdict]:
    """Verdicts on one suspect.

    Args:
        subject: The suspect.
        tested: What every test says of each family asked for, the one that drives its verdict first.
        question: What is asked.
    """
    last = subject.last_look
    p_values = {
        family: float(each[0].standing.p_at_look[last, subject.at]) for family, each in tested.items()
    }
    names = [question.families.names[family] for family in p_values]
    corrected = adjusted(list(p_values.values()), names, adjust=question.corrected)
    return [
        _verdict(subject, family, tested[family], p_adjusted, len(p_values), question)
        for family, p_adjusted in zip(p_values, corrected, strict=True)
    ]


def _verdict(
    subject: Subject,
    family: int,
    tested: Sequence[Tested],
    p_adjusted: float,
    families_tested: int,
    question: Question,
) -> LineageVerdict:
    standing, bets = tested[0].standing, tested[0].bets
    count, paid_for = int(standing.controls[subject.at]), families_tested if question.corrected else 1
    ranked = not np.isnan(standing.score[subject.at])
    unfit = subject.unfit or (None if ranked and count else _unranked(family, question))
    told_apart = bool(question.controls.told_apart[family])
    verdict, reason = conclude(p_adjusted, count, paid_for, question.alpha, told_apart=told_apart)
    if unfit is not None:
        verdict, reason = Lineage.INCONCLUSIVE, unfit
    p_at_look = standing.p_at_look[: subject.last_look + 1, subject.at]
    return LineageVerdict(
        suspect=subject.name,
        teacher_family=question.families.names[family],
        verdict=verdict,
        reason=reason,
        p_value=None if unfit else float(p_at_look[-1]),
        p_adjusted=None if unfit else p_adjusted,
        p_floor=1.0 / (count + 1.0),
        log10_e=None if unfit else round(float(bets.log10_e[subject.at]), 6),
        score=None if unfit else round(float(standing.score[subject.at]), 6),
        queries=_queries(subject, p_at_look, verdict, paid_for, question),
        controls=count,
        families_tested=paid_for,
        evidence=_evidence(subject, family, tested, question) if ranked else (),
        ranked=None
        if unfit
        else ranked_of(
            standing,
            subject.at,
            question.models,
            subject.last_look,
            bets.course[:, subject.at],
            question.asked,
        ),
    )


def _unranked(family: int, question: Question) -> str:
    """Why there is no rank."""
    if not question.controls.allowed[family].any():
        return _NO_CONTROL
    return _NOTHING_SHARED if question.families.other_vendor[family].any() else _NO_RIVAL


def _queries(
    subject: Subject,
    p_at_look: npt.NDArray[np.float64],
    verdict: Lineage,
    paid_for: int,
    question: Question,
) -> int:
    """Prompts answered by the first look that would have decided; all answers where none did."""
    decided = np.flatnonzero(p_at_look * paid_for <= question.alpha)
    if verdict is Lineage.SUPPORTED and len(decided):
        return int(subject.heard[: subject.ends[int(decided[0])]].sum())
    return subject.answers


def _evidence(
    subject: Subject, family: int, tested: Sequence[Tested], question: Question
) -> tuple[Evidence, ...]:
    name = question.families.names[family]
    found = [
        item
        for one in tested
        if not np.isnan(one.standing.score[subject.at])
        for item in (_rank(subject, name, one, question), _wager(subject, one, question))
    ]
    return (*found, _likeness(subject, name, tested[0], question)) if subject.alike[family] else tuple(found)


def _rank(subject: Subject, family: str, one: Tested, question: Question) -> Evidence:
    """The rank over all prompts; of a suspect that was stopped before them that of the suprema at the stop."""
    above, count = int(one.standing.above[subject.at]), int(one.standing.controls[subject.at])
    p_value, when = float(one.standing.p_fixed[subject.at]), "over all prompts"
    if question.asked < subject.ends[-1]:
        p_value = float(one.standing.p_at_look[subject.last_look, subject.at])
        above, when = (
            round(p_value * (count + 1)) - 1,
            f"at some look as the suspect over {question.asked} prompts",
        )
    return Evidence(
        detector=one.test.name,
        version=one.test.version,
        subject=subject.name,
        guarantee=Guarantee.CONFORMAL,
        score=round(float(one.standing.score[subject.at]), 6),
        p_value=p_value,
        p_floor=1.0 / (count + 1.0),
        n=subject.answers,
        summary=f"{one.test.summary} {family}: {above} of {count} controls stand as high {when}",
    )


def _wager(subject: Subject, one: Tested, question: Question) -> Evidence:
    log10_e = round(float(one.bets.log10_e[subject.at]), 6)
    backing = "" if one.bets.backed else "; too few controls back the margin"
    return Evidence(
        detector=f"{one.test.name}.bet",
        version=one.test.version,
        subject=subject.name,
        guarantee=Guarantee.DESCRIPTIVE,
        score=log10_e,
        log10_e=log10_e,
        n=subject.answers,
        summary=(
            f"a bet at {10**log10_e:.3g} to 1 that ranks exceed a half by more than {one.bets.margin:.2f}: a claim at "
            f"1/{question.alpha:g} is false with chance {question.alpha:g} (margin) + {question.alpha:g} (bet){backing}"
        ),
    )


def _likeness(subject: Subject, family: str, one: Tested, question: Question) -> Evidence:
    return Evidence(
        detector="lineage.consistency",
        version="1",
        subject=subject.name,
        guarantee=Guarantee.DESCRIPTIVE,
        score=round(float(one.standing.score[subject.at]), 6),
        n=subject.answers,
        summary=(
            f"consistent with {family}, among listed families: {LEAST_SCORE:g} above the controls and {LEAST_GAP:g} "
            f"above every competitor; where the true vendor was not listed, {NAMED_WRONGLY:.0%} of suspects were "
            "called consistent with another"
        ),
    )
