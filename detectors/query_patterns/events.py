"""D9: how an account reacts: to refusals, to blocks, to a new model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.session import Rows
from kdguard.features.signals import FLAGS, MARGIN_SCALE
from kdguard.scan import Column, Detector, Floats, State
from kdguard.stats.sketches import (
    AMS_COUNTERS,
    HLL_REGISTERS,
    ams_counters,
    collision_rate,
    hll_estimate,
    hll_registers,
)

_REFUSED = FLAGS["refused"] | FLAGS["blocked"]
_EARLY = 20
_FEW_REFUSALS = 3


@dataclass(frozen=True)
class Events(Detector):
    """Refused probing with many wordings, retries after a block, and a change of model.

    `probing` counts distinct frames among refused or extraction-like requests (the technique sweep of 12,000 probes,
    log-scoring reference section 1); `retry` is the share of requests that follow a refusal or block at once;
    `pivot` is the change in the mix of models between the first requests and the rest.
    """

    name: ClassVar[str] = "events"
    outputs: ClassVar[tuple[str, ...]] = ("probing", "retry", "pivot")
    resolution: ClassVar[tuple[float, ...]] = (1.0, 0.02, 0.05)
    requires: ClassVar[tuple[str, ...]] = ("status", "model")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Counts, a sketch of probed frames, and sketches of models used early and late."""
        return (
            Column("n", "int32"),
            Column("retried", "int32"),
            Column("probes", "uint8", HLL_REGISTERS, "max"),
            Column("early", "int32", AMS_COUNTERS),
            Column("late", "int32", AMS_COUNTERS),
        )

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Look at each row and at the one before it."""
        refused = (rows.flags & _REFUSED) != 0
        probe = refused & rows.has_text & (rows.margin > 0 * MARGIN_SCALE)
        early = rows.ordinal < _EARLY
        zero = np.uint64(0)
        return {
            "n": np.ones(len(rows), np.int32),
            "retried": ((rows.previous_flags & _REFUSED) != 0).astype(np.int32),
            "probes": hll_registers(np.where(probe, rows.head, zero)),
            "early": ams_counters(np.where(early, rows.model, zero)),
            "late": ams_counters(np.where(early, zero, rows.model)),
        }

    def scores(self, state: State) -> Floats:
        """Return log2 of probed frames beyond three, share of retries, and squared distance of model mixes."""
        count = state.columns["n"][:, 0].astype(np.float64)
        # A few refused prompts happen to anybody; a sweep is many wordings.
        probes = np.log2(1 + np.maximum(hll_estimate(state.columns["probes"]) - _FEW_REFUSALS, 0))
        retry = state.columns["retried"][:, 0] / np.maximum(count, 1)
        early_n = np.minimum(count, _EARLY)
        late_n = count - early_n
        early, late = state.columns["early"].astype(np.float64), state.columns["late"].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            cross = np.mean(early * late, axis=1) / (early_n * late_n)
        pivot = (
            collision_rate(state.columns["early"], early_n)
            + collision_rate(state.columns["late"], late_n)
            - 2 * cross
        )
        return np.stack([probes, retry, np.where(late_n >= 5, pivot, np.nan)], axis=1)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "probing":
            return f"about {2.0**score - 1 + _FEW_REFUSALS:.0f} different wordings were refused"
        if output == "retry":
            return f"{score:.0%} of requests follow a refusal or a block"
        return "the mix of models changed after the first requests"
