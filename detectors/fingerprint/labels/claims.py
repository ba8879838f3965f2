"""The label test as a case: labels by number and what each is worth, no row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kdguard.detectors.fingerprint.labels.classifiers import Answered
from kdguard.detectors.fingerprint.labels.plan import Plan
from kdguard.detectors.fingerprint.labels.run import AGREEMENT, AMONG, others_of, places_of
from kdguard.errors import LineageError
from kdguard.evidence import Evidence
from kdguard.ledger.derivation import KeyName
from kdguard.lineage.scored import evidence_of

NAME, VERSION = "lineage.labels", "2"
_GRID: Final = 1_000_000_000


def label_agreement(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Rank a suspect's agreement with the teacher in each group of controls; see `run.examine`.

    Args:
        statistics: `suspect`, `labels` of the suspect (q,), `controls` (m, q), `groups` of the controls (m,).
        parameters: `family`, `digest` of the plan, `teacher` labels (q,), `weights` in billionths (q,): fixed before
            the suspect was asked.
        keys: None are used.
    """
    teacher = np.array(parameters["teacher"], np.int64)
    weights = np.array(parameters["weights"], np.float64) / _GRID
    labels = np.array([*statistics["controls"], statistics["labels"]], np.int64)
    groups = np.array(statistics["groups"], np.int64)
    if (
        labels.shape[1:] != teacher.shape
        or weights.shape != teacher.shape
        or len(groups) != len(labels) - 1
        or not len(groups)
        or not set(groups.tolist()) <= set(AMONG)
    ):
        raise LineageError(
            "a case of labels must have one label a query of every model, and a group of every control, one at least"
        )
    scores = np.asarray((labels == teacher) @ weights, np.float64)
    family, suspect = str(parameters["family"]), str(statistics["suspect"])
    return tuple(
        evidence_of(place, AGREEMENT, suspect, family, len(teacher), among=AMONG[group])
        for group, place in places_of(scores, groups).items()
    )


def case_of(
    plan: Plan, suspect: str, answered: Answered, family: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Statistics and parameters that `label_agreement` takes; queries without an answer are left out."""
    known = np.asarray(~np.isnan(answered.probabilities).any(axis=1), np.bool_)
    said = answered.probabilities[known]
    others, groups = others_of(plan, said, known)
    statistics = {
        "suspect": suspect,
        "labels": said.argmax(axis=1).tolist(),
        "controls": others.argmax(axis=2).tolist(),
        "groups": groups.tolist(),
    }
    parameters = {
        "family": family,
        "digest": plan.digest,
        "teacher": plan.teacher_labels[known].tolist(),
        "weights": np.round(plan.weights[known] * _GRID).astype(int).tolist(),
    }
    return statistics, parameters
