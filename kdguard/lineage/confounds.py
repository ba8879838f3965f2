"""What else could make a suspect stand where it stands: what was checked, what it showed, what cannot be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt

from kdguard.lineage.drift import Drift
from kdguard.lineage.endings import cut_short, shares_cut
from kdguard.lineage.families import Families
from kdguard.lineage.responses import Responses, lengths_words
from kdguard.lineage.verdict import Lineage, LineageVerdict
from kdguard.stats.conformal import references_needed


@dataclass(frozen=True, slots=True)
class Confound:
    """One other explanation.

    Attributes:
        name: Of what.
        checked: The data allowed a look at it.
        finding: What was found, or what is missing.
        weighs: What was found speaks for this explanation.
    """

    name: str
    checked: bool
    finding: str
    weighs: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What explanations are looked for in.

    Attributes:
        models: Names of the models.
        words: Median words of each model's answers, shape (M,).
        answered: Prompts that each model answered, shape (M,).
        prompts: Prompts of the table.
        families: Families of the table.
        alpha: Level of a claim.
        doubts: What speaks against the answers of suspects.
        drift: What asking a live suspect again showed.
        manner: How a live suspect was asked.
        cut: Share of each model's answers that look cut off, shape (M,).
    """

    models: tuple[str, ...]
    words: npt.NDArray[np.float64]
    answered: npt.NDArray[np.int64]
    prompts: int
    families: Families
    alpha: float
    doubts: Mapping[str, str]
    drift: Drift | None
    manner: str | None
    cut: npt.NDArray[np.float64]


def surroundings(
    responses: Responses,
    families: Families,
    alpha: float,
    *,
    doubts: Mapping[str, str],
    drift: Drift | None = None,
    manner: str | None = None,
) -> Surroundings:
    """Measure once what the explanations of all verdicts need."""
    lengths = lengths_words(responses)
    words = np.full(lengths.shape[1], np.nan)
    known = ~np.isnan(lengths).all(axis=0)
    words[known] = np.nanmedian(lengths[:, known], axis=0)
    answered = responses.answered.sum(axis=0)
    count = len(responses.prompts)
    cut = shares_cut(responses)
    return Surroundings(responses.models, words, answered, count, families, alpha, doubts, drift, manner, cut)


def confounds(verdict: LineageVerdict, around: Surroundings, *, told_apart: bool) -> tuple[Confound, ...]:
    """Other explanations of one verdict.

    Args:
        verdict: The verdict.
        around: What they are looked for in.
        told_apart: It is documented that no control has a link to the family.
    """
    doubt = around.doubts.get(verdict.suspect)
    return (
        _length(verdict, around),
        _vendor(verdict, around.families, told_apart),
        Confound(
            "same base model",
            False,
            "the bases of suspect and controls are not told; a shared base makes answers alike without any "
            "distillation. Controls of the suspect's own base rule it out",
        ),
        Confound(
            "the teacher's answers by another way",
            False,
            "a public data set of the teacher's answers leaves the same traces: the test tells whose answers, not how "
            "they came there",
        ),
        _decoding(around.manner),
        Confound(
            "answers that carry nothing",
            True,
            doubt or "echoes, refusals, cut-off ends or other languages are not half of the answers",
            weighs=doubt is not None,
        ),
        _cut_off(verdict, around),
        _one_model(around.drift),
        _missing(verdict, around),
    )


def _length(verdict: LineageVerdict, around: Surroundings) -> Confound:
    name = "length of answers"
    if verdict.ranked is None or verdict.score is None or not verdict.ranked.controls:
        return Confound(name, False, "no rank, nothing to match")
    place = {model: at for at, model in enumerate(around.models)}
    own = float(around.words[place[verdict.suspect]])
    theirs = around.words[[place[control] for control in verdict.ranked.controls]]
    nearest = np.argsort(np.abs(np.log1p(theirs) - np.log1p(own)), kind="stable")[: max(len(theirs) // 2, 1)]
    as_high = int((verdict.ranked.scores[nearest] >= verdict.score - 1e-6).sum())
    low, first, third, high = np.nanquantile(theirs, [0.05, 0.25, 0.75, 0.95])
    outside = own < low or own > high
    finding = (
        f"{own:.0f} words in the median, half of the controls {first:.0f} to {third:.0f}; of the {len(nearest)} "
        f"controls nearest in length {as_high} stand as high: p = {(1 + as_high) / (1 + len(nearest)):.2g} among these"
    )
    if outside:
        finding += ". Hardly a control writes answers of this length: others that do may stand as high"
    return Confound(name, True, finding, weighs=outside)


def _vendor(verdict: LineageVerdict, families: Families, told_apart: bool) -> Confound:
    own = families.each[families.names.index(verdict.teacher_family)]
    siblings = [one.name for one in families.each if own.vendor and one.vendor == own.vendor and one != own]
    finding = (
        f"no control of {verdict.teacher_family} has a documented link to it"
        if told_apart
        else "nothing documents that the controls have no link to the family: give --controls, or vendors"
    )
    if siblings:
        finding += f"; the same vendor's {', '.join(siblings)} may be meant as well: a claim names a family, no version"
    return Confound("same vendor", told_apart, finding)


def _cut_off(verdict: LineageVerdict, around: Surroundings) -> Confound:
    name, model = "answers cut off", around.models.index(verdict.suspect)
    if np.isnan(around.cut[model]):
        return Confound(name, False, "no answers")
    finding = f"{around.cut[model]:.0%} of its answers stop within a sentence at much the same length"
    weighs = cut_short(around.cut, model)
    if weighs:
        finding += ", most other models' do not: a limit of tokens may stand behind its likeness; ask all with the same"
    return Confound(name, True, finding, weighs=weighs)


def _decoding(manner: str | None) -> Confound:
    if manner is None:
        return Confound(
            "decoding", False, "how the stored answers were sampled is not told: ask all models alike"
        )
    return Confound(
        "decoding", True, f"the suspect was asked with {manner}; the stored models should have been"
    )


def _one_model(drift: Drift | None) -> Confound:
    if drift is None:
        return Confound("one model all along", False, "no prompts were asked again")
    seen = drift.p_value is not None or drift.changed
    return Confound("one model all along", seen, drift.reason, weighs=drift.changed)


def _missing(verdict: LineageVerdict, around: Surroundings) -> Confound:
    answered = int(around.answered[around.models.index(verdict.suspect)])
    told = (
        f"the suspect answered {answered} of {around.prompts} prompts; its means are over those it answered"
    )
    return Confound("prompts left out", True, told)


def what_would_change(verdict: LineageVerdict, alpha: float) -> tuple[str, ...]:
    """What would make the verdict another one, in numbers.

    Args:
        verdict: The verdict.
        alpha: Level of a claim.
    """
    level, count = alpha / verdict.families_tested, verdict.controls
    needed = references_needed(level)
    if count < needed:
        return (
            f"{needed - count} more controls without a link to the family: with {count} no p can be below "
            f"{verdict.p_floor:.2g}, and a claim needs {level:.2g}",
            *(("fewer families, named beforehand with --family",) if verdict.families_tested > 1 else ()),
        )
    if verdict.p_value is None:
        return (f"answers that can be compared: {verdict.reason}",)
    above = round(verdict.p_value * (count + 1)) - 1
    most = floor(level * (count + 1) + 1e-9) - 1
    if verdict.verdict is Lineage.SUPPORTED:
        return (
            f"{most + 1 - above} more of the controls standing as high (now {above} of {count}; {most} may)",
            "a link of the suspect or of its rivals to the family that explains the likeness otherwise",
        )
    if verdict.verdict is Lineage.NOT_SUPPORTED:
        return (
            f"a higher stand: {above} of {count} controls reach it, at most {most} may",
            "controls that turn out to descend from the family themselves, and are left out",
        )
    return (verdict.reason,)
