"""The label test as a case: labels by number and what each is worth, no row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kdguard.detectors.fingerprint.labels.classifiers import Answered
from kdguard.detectors.fingerprint.labels.plan import Plan
from kdguard.detectors.fingerprint.labels.run import AGREEMENT, others_of
from kdguard.errors import LineageError
from kdguard.evidence import Evidence
from kdguard.ledger.derivation import KeyName
from kdguard.lineage.scored import evidence_of, place_of

NAME, VERSION = "lineage.labels", "1"
_GRID: Final = 1_000_000


def label_agreement(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Rank a suspect's agreement with the teacher among controls; see `run.examine`.

    Args:
        statistics: `suspect`, `labels` of the suspect (q,), `controls` (m, q).
        parameters: `family`, `digest` of the plan, `teacher` labels (q,), `weights` in millionths (2, q): fixed before
            the suspect was asked.
        keys: None are used.
    """
    teacher = np.array(parameters["teacher"], np.int64)
    yes, no = np.array(parameters["weights"], np.float64) / _GRID
    labels = np.array([*statistics["controls"], statistics["labels"]], np.int64)
    if labels.shape[1:] != teacher.shape or yes.shape != teacher.shape or len(labels) < 2:
        raise LineageError(
            "a case of labels must have one label a query of every model, and a control at least"
        )
    scores = np.where(labels == teacher, yes, no).sum(axis=1)
    place = place_of(np.asarray(scores, np.float64))
    family, suspect = str(parameters["family"]), str(statistics["suspect"])
    return (evidence_of(place, AGREEMENT, suspect, family, len(teacher)),)


def case_of(
    plan: Plan, suspect: str, answered: Answered, family: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Statistics and parameters that `label_agreement` takes; queries without an answer are left out."""
    known = np.asarray(~np.isnan(answered.probabilities).any(axis=1), np.bool_)
    said = answered.probabilities[known]
    statistics = {
        "suspect": suspect,
        "labels": said.argmax(axis=1).tolist(),
        "controls": others_of(plan, said, known).argmax(axis=2).tolist(),
    }
    parameters = {
        "family": family,
        "digest": plan.digest,
        "teacher": plan.teacher_labels[known].tolist(),
        "weights": np.round(plan.weights[:, known] * _GRID).astype(int).tolist(),
    }
    return statistics, parameters
