"""D2: what an account takes away: options, sizes and forms that make good training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.session import Rows
from kdguard.scan import Column, Detector, Floats, State


@dataclass(frozen=True)
class Harvest(Detector):
    """Shares of requests with log-probabilities, several choices or logit bias; single turns; output per request.

    Soft labels are worth many hard ones to a student, and single-turn tasks with long answers are what
    instruction sets are made of (log-scoring reference, section 3 and D2).
    """

    name: ClassVar[str] = "harvest"
    outputs: ClassVar[tuple[str, ...]] = ("soft_labels", "single_turn", "output_size")
    resolution: ClassVar[tuple[float, ...]] = (0.05, 0.05, 0.25)
    requires: ClassVar[tuple[str, ...]] = ("logprobs", "messages", "output_tokens")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Counts and a sum of log output sizes."""
        return (
            Column("n", "int64"),
            Column("soft", "int64"),
            Column("single", "int64"),
            Column("sized", "int64"),
            Column("log_output", "int64"),
        )

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Count flags and sizes."""
        sized = rows.output_tokens >= 0
        log_output = np.rint(np.log2(1.0 + np.where(sized, rows.output_tokens, 0)) * 256)
        return {
            "n": np.ones(len(rows), np.int64),
            "soft": (rows.flag("logprobs") | rows.flag("many_choices") | rows.flag("logit_bias")).astype(
                np.int64
            ),
            "single": (rows.flag("single_turn") & ~rows.flag("tools")).astype(np.int64),
            "sized": sized.astype(np.int64),
            "log_output": np.where(sized, log_output, 0).astype(np.int64),
        }

    def scores(self, state: State) -> Floats:
        """Return the two shares and the mean log2 of output tokens."""
        column = {name: values[:, 0].astype(np.float64) for name, values in state.columns.items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack(
                [
                    column["soft"] / column["n"],
                    column["single"] / column["n"],
                    np.where(column["sized"] > 0, column["log_output"] / column["sized"] / 256, np.nan),
                ],
                axis=1,
            )

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "soft_labels":
            return f"{score:.0%} of requests ask for log-probabilities, several choices or logit bias"
        if output == "single_turn":
            return f"{score:.0%} of requests are single self-contained turns"
        return f"a typical answer has {2.0**score:.0f} tokens"
