"""The test of a common initialisation as a case: cosines between units, no weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kdguard.detectors.fingerprint.weights.initialisation import Settings, cosines_of, rank
from kdguard.detectors.fingerprint.weights.run import evidence_of_likeness
from kdguard.detectors.fingerprint.weights.tensors import Tensors
from kdguard.errors import LineageError
from kdguard.evidence import Evidence
from kdguard.ledger.derivation import KeyName

NAME, VERSION = "lineage.initialisation", "1"
_GRID: Final = 1_000_000
_MOST: Final = 2_000_000
"""Cosines that a case holds at most."""


def initialisation(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Rank the order of two models' hidden units; see `initialisation.same_initialisation`.

    Args:
        statistics: `suspect`; `layers`: cosines in millionths, a square list a layer.
        parameters: `seed`, `reorderings`, `units`.
        keys: None are used.
    """
    settings = Settings(**parameters)
    layers = [np.array(layer, np.float64) / _GRID for layer in statistics["layers"]]
    if any(layer.ndim != 2 or layer.shape[0] != layer.shape[1] for layer in layers) or not layers:
        raise LineageError("a case of a common initialisation must hold square tables of cosines")
    found = rank(layers, settings)
    return (evidence_of_likeness(found, str(statistics["suspect"]), 1.0 / (settings.reorderings + 1.0)),)


def statistics_of(suspect: Tensors, teacher: Tensors, settings: Settings) -> dict[str, Any]:
    """What `initialisation` takes.

    Raises:
        LineageError: The models cannot be compared in place, or a case would be too large.
    """
    layers = [np.round(cosines * _GRID).astype(int) for cosines in cosines_of(suspect, teacher, settings)]
    if sum(layer.size for layer in layers) > _MOST:
        raise LineageError(
            f"a case holds at most {_MOST:,} cosines, these models have {sum(layer.size for layer in layers):,}; take "
            "fewer units"
        )
    return {"suspect": suspect.path.name, "layers": [layer.tolist() for layer in layers]}
