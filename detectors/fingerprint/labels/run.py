"""Test a classifier against a plan: the teacher's labels where strangers seldom give them, and its dark knowledge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.labels.classifiers import Answered
from kdguard.detectors.fingerprint.labels.plan import FEWEST_SAME, OTHER_ROWS, OTHER_TEACHERS, SAME_ROWS, Plan
from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.matched import lean
from kdguard.lineage.scored import About, Place, evidence_of, least, nothing_said, place_of, verdict_of
from kdguard.lineage.verdict import Lineage, LineageVerdict
from kdguard.stats.poisson_binomial import upper_tail

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FEWEST_QUERIES = 20
PRIVATE_ALPHA = 0.01
"""Largest level of a claim where rows are declared private. At .05 strangers were claimed twice as often as that, at
.01 as often (README.md): the owner's one sample of rows makes controls too much alike."""
_SMALL = float(np.exp(-7))
_SAME = 0.99
"""A control that gives a suspect's label on so many of the queries, where labels differ much, is the suspect."""

AGREEMENT = About(name="labels.agreement", version="2", summary="labels where strangers seldom give them, of")
AMONG = {
    OTHER_ROWS: " of other rows",
    SAME_ROWS: " that learnt the teacher's own rows",
    OTHER_TEACHERS: " that other teachers taught",
}
DARK = About(
    name="labels.dark_knowledge",
    version="1",
    summary="probabilities of the labels it does not choose, as of",
)


def examine_many(
    plan: Plan,
    suspects: Mapping[str, Answered],
    family: str,
    alpha: float = 0.01,
    *,
    private_rows: bool = False,
) -> tuple[LineageVerdict, ...]:
    """One verdict a suspect; see `examine`."""
    return tuple(
        examine(plan, name, answered, family, alpha, private_rows=private_rows)
        for name, answered in suspects.items()
    )


def examine(
    plan: Plan,
    suspect: str,
    answered: Answered,
    family: str = "teacher",
    alpha: float = 0.01,
    *,
    private_rows: bool = False,
) -> LineageVerdict:
    """Test one classifier.

    The label test drives the verdict: the weights of the teacher's labels it gives, summed and ranked among the
    controls, in each group of them; the less telling rank counts. Dark knowledge stands beside it, with a rank of its
    own.

    Args:
        plan: Made before the suspect was asked.
        suspect: Its name.
        answered: What it said to the plan's queries.
        family: Name of the teacher.
        alpha: Level of a claim.
        private_rows: Nobody else holds the rows that the teacher learnt from, on their owner's word. Without it a
            suspect must stand out among models of these very rows as well, which are nearly as like the teacher as
            its copies are. With it a claim is made at `PRIVATE_ALPHA` at most.
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
    others, groups = others_of(plan, said, known)
    labels = np.concatenate([others.argmax(axis=2), said.argmax(axis=1)[None]])
    agree = (labels == plan.teacher_labels[known]).astype(np.float64)
    places = places_of(agree @ plan.weights[known], groups)
    evidence = [
        evidence_of(place, AGREEMENT, suspect, family, count, among=AMONG[group])
        for group, place in places.items()
    ]
    if answered.tells_probabilities:
        dark = place_of(_dark(plan, said, others[groups != SAME_ROWS], known))
        evidence.append(evidence_of(dark, DARK, suspect, family, count))
    stranger = least([place for group, place in places.items() if group != SAME_ROWS])
    evidence.append(_chance(plan, said, known, suspect, count, stranger))
    if private_rows:
        level = min(alpha, PRIVATE_ALPHA)
        found = verdict_of(suspect, family, stranger, evidence, queries=count, alpha=level)
        return _narrowed(found, stranger, alpha, level)
    place = least(tuple(places.values()))
    found = verdict_of(suspect, family, place, evidence, queries=count, alpha=alpha)
    return _explained(found, stranger, SAME_ROWS in places, alpha)


def places_of(scores: Floats, groups: Ints) -> dict[int, Place]:
    """Where a suspect, last of m + 1 scores, stands among each group of controls, the groups given by shape (m,)."""
    return {
        int(group): place_of(np.append(scores[:-1][groups == group], scores[-1]))
        for group in np.unique(groups)
    }


def others_of(plan: Plan, said: Floats, known: Bools) -> tuple[Floats, Ints]:
    """Answers of the controls, without the suspect under another name, (m, q, c), and their groups."""
    controls = plan.controls[:, known]
    alike = (np.abs(controls - said).max(axis=2) < 1e-9).mean(axis=1)
    return controls[alike < _SAME], plan.groups[alike < _SAME]


def _narrowed(verdict: LineageVerdict, stranger: Place, alpha: float, level: float) -> LineageVerdict:
    """A suspect that stands out at the level asked for, not at the one that private rows bear."""
    if verdict.verdict is not Lineage.NOT_SUPPORTED or stranger.p_value > alpha:
        return verdict
    reason = (
        f"p is at most {alpha:g}, but above {level:g} pupils of other teachers stand as high too often: where rows are "
        "declared private no wider claim is made"
    )
    return replace(verdict, verdict=Lineage.INCONCLUSIVE, reason=reason)


def _explained(verdict: LineageVerdict, stranger: Place, marked: bool, alpha: float) -> LineageVerdict:
    """A suspect that models of other rows do not match may be a model of the teacher's own rows."""
    if not marked and verdict.verdict is Lineage.SUPPORTED:
        missing = f"nobody can say if models of the teacher's own rows would: mark {FEWEST_SAME} at least as 'taught'"
    elif verdict.verdict is Lineage.NOT_SUPPORTED and stranger.p_value <= alpha:
        missing = "models of the teacher's own rows stand as high: it is a copy, or one of these"
    else:
        return verdict
    reason = f"stands out among models of other rows, but {missing}; or declare the rows private, if they are"
    return replace(verdict, verdict=Lineage.INCONCLUSIVE, reason=reason)


def _dark(plan: Plan, said: Floats, others: Floats, known: Bools) -> Floats:
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


def _chance(plan: Plan, said: Floats, known: Bools, suspect: str, count: int, place: Place) -> Evidence:
    """Agreements beside what strangers' frequencies suggest; descriptive, since queries are not independent."""
    agrees = int((said.argmax(axis=1) == plan.teacher_labels[known]).sum())
    copy, stranger = plan.rates[:, known]
    return Evidence(
        detector="labels.frequencies",
        version="2",
        subject=suspect,
        guarantee=Guarantee.DESCRIPTIVE,
        score=round(place.score, 6),
        n=count,
        summary=(
            f"agrees with the teacher on {agrees} of {count} queries; on average strangers of the design do on "
            f"{stranger.sum():.1f}, copies on {copy.sum():.1f}; were queries independent, "
            f"{upper_tail(stranger, agrees):.2g}"
        ),
    )
