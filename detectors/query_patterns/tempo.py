"""D8: when requests come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.session import Rows
from kdguard.features.signals import NO_TIME
from kdguard.scan import Column, Detector, Floats, State

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_LATEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Tempo(Detector):
    """Hours of the day used, evenness of gaps, and speed.

    Advisory AA26-251A names round-the-clock use and a missing ramp. Nightly evaluations and migrations show both,
    so these are features ranked within a stratum, never rules.
    """

    name: ClassVar[str] = "tempo"
    outputs: ClassVar[tuple[str, ...]] = ("round_the_clock", "even_gaps", "rate")
    resolution: ClassVar[tuple[float, ...]] = (0.2, 0.2, 0.5)
    requires: ClassVar[tuple[str, ...]] = ("time",)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Requests by hour of day, moments of log gaps, first and last time."""
        return (
            Column("hours", "int32", 24),
            Column("gaps", "int64"),
            Column("log_gap", "int64"),
            Column("log_gap_squared", "int64"),
            Column("first_us", "int64", 1, "min"),
            Column("last_us", "int64", 1, "max"),
        )

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Place each row in its hour; a row without time adds nothing."""
        timed = rows.time_us != NO_TIME
        hours = np.zeros((len(rows), 24), np.int32)
        hours[np.arange(len(rows)), (rows.time_us % _DAY_US) // _HOUR_US] = timed
        known = rows.gap_us >= 0
        log_gap = np.log2(1.0 + np.where(known, rows.gap_us, 0) / 1e6)
        fixed = np.where(known, np.rint(log_gap * 256), 0).astype(np.int64)
        return {
            "hours": hours,
            "gaps": known.astype(np.int64),
            "log_gap": fixed,
            "log_gap_squared": fixed * fixed,
            "first_us": np.where(timed, rows.time_us, _LATEST),
            "last_us": np.where(timed, rows.time_us, NO_TIME),
        }

    def scores(self, state: State) -> Floats:
        """Return hour entropy in bits, minus the spread of log gaps, and log requests an active day."""
        hours = state.columns["hours"].astype(np.float64)
        total = hours.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = hours / total[:, None]
            entropy = -np.where(share > 0, share * np.log2(share), 0).sum(axis=1)
            gaps = state.columns["gaps"][:, 0].astype(np.float64)
            mean = state.columns["log_gap"][:, 0] / gaps
            variance = np.maximum(state.columns["log_gap_squared"][:, 0] / gaps - mean * mean, 0)
            days = np.maximum(
                (state.columns["last_us"][:, 0].astype(np.float64) - state.columns["first_us"][:, 0])
                / _DAY_US,
                1 / 24,
            )
            rate = np.log2(total / days)
        entropy = np.where(total >= 5, entropy, np.nan)
        even = np.where(gaps >= 5, -np.sqrt(variance) / 256, np.nan)
        return np.stack([entropy, even, np.where(total >= 5, rate, np.nan)], axis=1)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "round_the_clock":
            return f"requests spread evenly over the hours of the day ({score:.1f} of 4.6 bits)"
        if output == "even_gaps":
            return f"gaps between requests are unusually even (spread {-score:.1f} doublings)"
        return f"about {2.0**score:.0f} requests a day while active"
