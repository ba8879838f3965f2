"""Decoy keys: fixed in public by what was committed, so that nobody can have chosen them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.ledger.canonical import canonical
from kdguard.ledger.derivation import KeyName
from kdguard.stats.conformal import conformal_p

Floats = npt.NDArray[np.float64]

DECOYS = 9_999


def decoy_keys(name: KeyName, parameters: Mapping[str, Any]) -> list[bytes]:
    """Keys of 32 bytes that marked nothing, for one account, epoch and set of committed parameters."""
    label = canonical(["decoy", name.scheme, name.account, name.epoch, dict(parameters)])
    stream = hashlib.shake_256(label).digest(32 * DECOYS)
    return [stream[at : at + 32] for at in range(0, len(stream), 32)]


def rank_p(own: float, decoys: Floats) -> float:
    """Chance that a decoy scores at least as high, ties against us: (1 + #) / (M + 1)."""
    return float(conformal_p(np.array([own]), decoys)[0])
