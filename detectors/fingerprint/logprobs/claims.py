"""A rank by numbers as a case: affinities of suspect and controls, no text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kdguard.detectors.fingerprint.logprobs.agreements import LABELS
from kdguard.detectors.fingerprint.logprobs.likelihoods import LIKELIHOOD
from kdguard.detectors.fingerprint.logprobs.readings import Readings
from kdguard.detectors.fingerprint.logprobs.topk import TOP_K
from kdguard.errors import LineageError
from kdguard.evidence import Evidence
from kdguard.ledger.derivation import KeyName
from kdguard.lineage.controls import Controls
from kdguard.lineage.matched import lean_evenly, lean_of_both, mean_difference
from kdguard.lineage.numbers import Score, readings_of
from kdguard.lineage.scored import About, evidence_of, place_of

NAME, VERSION = "lineage.numbers", "1"
_GRID: Final = 1_000_000
_TESTS: Final[Mapping[str, tuple[About, Score]]] = {
    LIKELIHOOD.name: (LIKELIHOOD, lean_of_both),
    TOP_K.name: (TOP_K, lean_evenly),
    LABELS.name: (LABELS, mean_difference),
}


def ranked_by_numbers(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Rank a suspect among its controls by what was read; see `kdguard.lineage.numbers.examine_numbers`.

    Args:
        statistics: `suspect`; `readings`: own (p, m + 1), own of the teacher (p,), against and against of the teacher,
            in millionths, the suspect last.
        parameters: `family`, `test`, `version`, `queries`.
        keys: None are used.
    """
    about, score = _TESTS.get(str(parameters["test"]), (None, None))
    if about is None or score is None or about.version != parameters["version"]:
        raise LineageError(f"there is no reading {parameters['test']!r} of version {parameters['version']!r}")
    arrays = [np.array(part, np.float64) / _GRID for part in statistics["readings"]]
    if len(arrays) != 4 or arrays[0].shape != arrays[2].shape or len(arrays[1]) != len(arrays[0]):
        raise LineageError("a case of numbers must hold four tables that fit")
    place = place_of(score(*arrays))
    suspect, family = str(statistics["suspect"]), str(parameters["family"])
    return (evidence_of(place, about, suspect, family, int(parameters["queries"])),)


def case_of(
    readings: Readings, controls: Controls, suspect: str, family: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Statistics and parameters that `ranked_by_numbers` takes."""
    numbers = readings.numbers
    at = numbers.models.index(suspect)
    found = readings_of(numbers, readings.families, controls, at, readings.families.names.index(family))
    statistics = {
        "suspect": suspect,
        "readings": [np.round(part * _GRID).astype(int).tolist() for part in found],
    }
    parameters = {
        "family": family,
        "test": readings.about.name,
        "version": readings.about.version,
        "queries": len(found[0]) * numbers.asked_an_item,
    }
    return statistics, parameters
