"""X2: different owners send at the same moments, beyond what the hours they keep explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination.alike import across_owners
from kdguard.evidence import Guarantee
from kdguard.features.signals import NO_TIME
from kdguard.features.text import mix
from kdguard.scoring.groups.pooled import HalfOne

Floats = npt.NDArray[np.float64]

_BIN_US = 60_000_000
_DAY_US = 86_400_000_000
_SHIFTS = 19


@dataclass(frozen=True)
class Synchrony:
    """Requests of different owners in the same minute, against the same requests moved by whole days.

    Each owner's requests are shifted round the period of the log by a whole number of days of its own, which keeps
    its hours of the day and breaks common bursts: circular shifts as in the analysis of spike trains (Grün 2009,
    J. Neurophysiol. 101:1126-1140). Weekdays are not kept, so the rank among benign groups is what counts.
    """

    name: str = "synchrony"
    version: str = "1"
    guarantee: Guarantee = Guarantee.INVARIANCE
    weight: float = 0.5
    supporting: bool = False

    def measure(self, half: HalfOne) -> Floats:
        """log2 of the chance to meet in a minute over its mean among shifts, both raised by one meeting in 10,000."""
        rows = half.rows
        timed = rows.time_us != NO_TIME
        if not timed.any():
            return np.full(half.groups, np.nan)
        time = np.where(timed, rows.time_us, 0)
        first = int(time[timed].min()) // _DAY_US * _DAY_US
        days = max((int(time[timed].max()) - first) // _DAY_US + 1, 1)
        shifted = []
        for shift in range(_SHIFTS + 1):
            drawn = mix(half.unit ^ mix(np.full(1, shift + 1, np.uint64))) % np.uint64(days)
            moved = (time - first + (drawn.astype(np.int64) * _DAY_US if shift else 0)) % (days * _DAY_US)
            minute = np.where(timed, moved // _BIN_US + 1, 0).astype(np.uint64)
            shifted.append(across_owners(half, minute))
        smallest = 1e-4
        return np.log2((shifted[0] + smallest) / (np.mean(shifted[1:], axis=0) + smallest))

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """The measure itself, faded in between 4 and 20 owners: two honest owners meet by accident."""
        return value * np.clip((units - 4) / 16, 0.0, 1.0)

    def explain(self, value: float) -> str:
        """Say it in words."""
        return (
            f"different owners send in the same minute {2.0**value:.1f} times as often as their hours explain"
        )
