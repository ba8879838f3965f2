"""D4: one form, many fillings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.session import Rows
from kdguard.scan import Column, Detector, Floats, State
from kdguard.stats.sketches import (
    AMS_COUNTERS,
    HLL_REGISTERS,
    ams_counters,
    collision_rate,
    hll_estimate,
    hll_registers,
)


@dataclass(frozen=True)
class TemplateConcentration(Detector):
    """Whether prompts share a frame (first or last words), and whether what fills it keeps changing.

    Harvesters fill one frame with ever new content; nightly evaluations and schedules repeat the same content
    (log-scoring reference, D4). Frames are compared by the chance that two requests share one, estimated with a
    tug-of-war sketch; content by the share of distinct prompts, estimated with HyperLogLog.
    """

    name: ClassVar[str] = "template"
    outputs: ClassVar[tuple[str, ...]] = ("frame", "filling")
    resolution: ClassVar[tuple[float, ...]] = (0.05, 0.05)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Sketches of heads, tails and whole prompts."""
        return (
            Column("n", "int32"),
            Column("head", "int32", AMS_COUNTERS),
            Column("tail", "int32", AMS_COUNTERS),
            Column("texts", "uint8", HLL_REGISTERS, "max"),
        )

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Sketch each row."""
        zero = np.uint64(0)
        return {
            "n": rows.has_text.astype(np.int32),
            "head": ams_counters(np.where(rows.has_text, rows.head, zero)),
            "tail": ams_counters(np.where(rows.has_text, rows.tail, zero)),
            "texts": hll_registers(np.where(rows.has_text, rows.text, zero)),
        }

    def scores(self, state: State) -> Floats:
        """Return the larger of the two frame collision rates, and that rate times the share of new content."""
        count = state.columns["n"][:, 0]
        frame = np.fmax(
            collision_rate(state.columns["head"], count), collision_rate(state.columns["tail"], count)
        )
        fresh = np.clip(hll_estimate(state.columns["texts"]) / np.maximum(count, 1), 0, 1)
        return np.stack([frame, np.clip(frame, 0, 1) * fresh], axis=1)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        share = max(0.0, min(1.0, score))
        if output == "filling":
            return f"one prompt frame is filled with ever new content (index {share:.2f})"
        return f"two requests share their opening or closing words with chance {share:.2f}"
