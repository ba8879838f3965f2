"""Test a classifier against a plan: agreement with the teacher where controls disagree, and its dark knowledge."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.labels.classifiers import Answered
from kdguard.detectors.fingerprint.labels.plan import Plan
from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.matched import lean
from kdguard.lineage.scored import About, Place, evidence_of, nothing_said, place_of, verdict_of
from kdguard.lineage.verdict import LineageVerdict
from kdguard.stats.poisson_binomial import upper_tail

Floats = npt.NDArray[np.float64]

FEWEST_QUERIES = 20
_SMALL = float(np.exp(-7))
_SAME = 0.99
"""A control that gives a suspect's label on so many of the queries, where labels differ much, is the suspect."""

AGREEMENT = About(
    name="labels.agreement", version="1", summary="labels of the teacher where controls seldom give them:"
)
DARK = About(
    name="labels.dark_knowledge",
    version="1",
    summary="probabilities of the labels it does not choose, as of the teacher",
)


def examine_many(
    plan: Plan, suspects: Mapping[str, Answered], family: str, alpha: float = 0.01
) -> tuple[LineageVerdict, ...]:
    """One verdict a suspect; see `examine`."""
    return tuple(examine(plan, name, answered, family, alpha) for name, answered in suspects.items())


def examine(
    plan: Plan, suspect: str, answered: Answered, family: str = "teacher", alpha: float = 0.01
) -> LineageVerdict:
    """Test one classifier.

    The label test drives the verdict: the sum of log-likelihood ratios of the design over the queries answered, ranked
    among the controls. Dark knowledge stands beside it, with a rank of its own.

    Args:
        plan: Made before the suspect was asked.
        suspect: Its name.
        answered: What it said to the plan's queries.
        family: Name of the teacher.
        alpha: Level of a claim.
    """
    known = np.asarray(~np.isnan(answered.probabilities).any(axis=1), np.bool_)
    count = int(known.sum())
    if count < min(FEWEST_QUERIES, len(plan.queries)):
        reason = f"{count} of {len(plan.queries)} queries answered; a test needs {FEWEST_QUERIES}"
        return nothing_said(suspect, family, reason, queries=count)
    said = answered.probabilities[known]
    if len(np.unique(said.argmax(axis=1))) == 1:
        return nothing_said(
            suspect, family, "the same label whatever is asked: a constant tells nothing", queries=count
        )
    others = others_of(plan, said, known)
    place = place_of(_agreement(plan, said, others, known))
    evidence = [evidence_of(place, AGREEMENT, suspect, family, count)]
    if answered.tells_probabilities:
        dark = place_of(_dark(plan, said, others, known))
        evidence.append(evidence_of(dark, DARK, suspect, family, count))
    evidence.append(_chance(plan, said, known, suspect, count, place))
    return verdict_of(suspect, family, place, evidence, queries=count, alpha=alpha)


def others_of(plan: Plan, said: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Answers of the controls to the queries answered, without the suspect under another name, (m, q, c)."""
    controls = plan.controls[:, known]
    alike = (np.abs(controls - said).max(axis=2) < 1e-9).mean(axis=1)
    return controls[alike < _SAME]


def _agreement(plan: Plan, said: Floats, others: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    labels = np.concatenate([others.argmax(axis=2), said.argmax(axis=1)[None]])
    agrees = labels == plan.teacher_labels[known]
    yes, no = plan.weights[:, known]
    return np.asarray(np.where(agrees, yes, no).sum(axis=1), np.float64)


def _dark(plan: Plan, said: Floats, others: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Lean towards the teacher's log-odds among the labels that it does not choose."""
    teacher = plan.teacher[known]
    chosen = teacher.argmax(axis=1)

    def residual(probabilities: Floats) -> Floats:
        logs = np.log(np.clip(probabilities, _SMALL, 1))
        rest = np.delete(logs.reshape(-1), np.arange(len(chosen)) * logs.shape[1] + chosen)
        by_query = rest.reshape(len(chosen), -1)
        if by_query.shape[1] > 1:
            by_query = by_query - by_query.mean(axis=1, keepdims=True)
        return by_query.reshape(-1)

    readings = np.stack([residual(one) for one in [*others, said]], axis=1)
    return lean(readings, residual(teacher))


def _chance(
    plan: Plan, said: Floats, known: npt.NDArray[np.bool_], suspect: str, count: int, place: Place
) -> Evidence:
    """Agreements beside what controls' frequencies suggest; descriptive, since queries are not independent."""
    agrees = int((said.argmax(axis=1) == plan.teacher_labels[known]).sum())
    rates = plan.control_rates[known]
    tail = upper_tail(rates, agrees)
    mistakes = (plan.truth[known] >= 0) & (plan.truth[known] != plan.teacher_labels[known])
    copied = int((said.argmax(axis=1) == plan.teacher_labels[known])[mistakes].sum())
    return Evidence(
        detector="labels.frequencies",
        version="1",
        subject=suspect,
        guarantee=Guarantee.DESCRIPTIVE,
        score=round(place.score, 6),
        n=count,
        summary=(
            f"agrees with the teacher on {agrees} of {count} queries, controls on {rates.sum():.1f} on average; "
            f"repeats {copied} of its {int(mistakes.sum())} mistakes on real rows; were queries independent, {tail:.2g}"
        ),
    )
