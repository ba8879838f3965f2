"""A rank by numbers as a case: affinities of suspect and controls, no text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.logprobs.agreements import LABELS
from kdguard.detectors.fingerprint.logprobs.likelihoods import LIKELIHOOD
from kdguard.detectors.fingerprint.logprobs.readings import Readings
from kdguard.detectors.fingerprint.logprobs.topk import TOP_K
from kdguard.errors import LineageError
from kdguard.evidence import Evidence
from kdguard.ledger.derivation import KeyName
from kdguard.lineage.controls import Controls
from kdguard.lineage.kinship import kinship, kinship_evidence
from kdguard.lineage.matched import LEAN_APART, LEAN_OF_BOTH, MEAN_DIFFERENCE, Affinities, Score
from kdguard.lineage.numbers import readings_of
from kdguard.lineage.scored import About, evidence_of, place_of

NAME, VERSION = "lineage.numbers", "2"
_GRID: Final = 1_000_000
_TESTS: Final[Mapping[str, tuple[About, Score]]] = {
    LIKELIHOOD.name: (LIKELIHOOD, LEAN_OF_BOTH),
    TOP_K.name: (TOP_K, LEAN_APART),
    LABELS.name: (LABELS, MEAN_DIFFERENCE),
}


def ranked_by_numbers(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Rank a suspect among its controls by what was read; see `kdguard.lineage.numbers.examine_numbers`.

    Args:
        statistics: `suspect`; in millionths, the suspect last: `own` and `against`, each of models (p, m + 1), teacher
            (p,) and foils (p, k); `elsewhere` (q, m + 1).
        parameters: `family`, `test`, `version`, `queries`.
        keys: None are used.
    """
    about, score = _TESTS.get(str(parameters["test"]), (None, None))
    if about is None or score is None or about.version != parameters["version"]:
        raise LineageError(f"there is no reading {parameters['test']!r} of version {parameters['version']!r}")
    own, against = (_affinities(statistics[side]) for side in ("own", "against"))
    elsewhere = _table(statistics["elsewhere"])
    if own.models.shape != against.models.shape or elsewhere.shape[1:] != own.models.shape[1:]:
        raise LineageError("a case of numbers must hold tables that fit: one column a model in each")
    whose = str(statistics["suspect"]), str(parameters["family"]), int(parameters["queries"])
    return (
        evidence_of(place_of(score.of(own, against)), about, *whose),
        kinship_evidence(kinship(elsewhere), *whose),
    )


def _affinities(told: Any) -> Affinities:
    """From a case.

    Raises:
        LineageError: Its tables have not one row an item each.
    """
    models, teacher, foils = map(_table, told)
    if models.ndim != 2 or len(teacher) != len(models) or len(foils) != len(models):
        raise LineageError("a case of numbers must hold tables that fit: one row an item in each")
    return Affinities(models, teacher, foils)


def _table(told: Any) -> npt.NDArray[np.float64]:
    return np.array(told, np.float64) / _GRID


def case_of(
    readings: Readings, controls: Controls, suspect: str, family: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Statistics and parameters that `ranked_by_numbers` takes."""
    numbers = readings.numbers
    at = numbers.models.index(suspect)
    family_at = readings.families.names.index(family)
    read = readings_of(numbers, readings.families, controls, at, family_at, readings.score)
    statistics = {
        "suspect": suspect,
        "own": _told(read.own),
        "against": _told(read.against),
        "elsewhere": _whole(read.elsewhere),
    }
    parameters = {
        "family": family,
        "test": readings.about.name,
        "version": readings.about.version,
        "queries": read.queries,
    }
    return statistics, parameters


def _told(side: Affinities) -> list[Any]:
    return [_whole(part) for part in (side.models, side.teacher, side.foils)]


def _whole(values: npt.NDArray[np.float64]) -> Any:
    return np.round(values * _GRID).astype(int).tolist()
