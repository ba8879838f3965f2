"""What a detector says about a subject, and what it says when it cannot speak."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Guarantee(StrEnum):
    """Why a number may be believed.

    Attributes:
        RANDOMISED: We flipped the coin ourselves and committed to it beforehand.
        INVARIANCE: The null is unchanged by a stated group of transformations.
        CONFORMAL: The subject is ranked among exchangeable references.
        DESCRIPTIVE: Nothing; it helps a person look and never drives a decision.
    """

    RANDOMISED = "randomised"
    INVARIANCE = "invariance"
    CONFORMAL = "conformal"
    DESCRIPTIVE = "descriptive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One detector's measured support for "this subject is extracting the model".

    Attributes:
        detector: Name of the detector that spoke.
        version: Version of the detector; a new version never reuses an old calibration.
        subject: Who the evidence is about: an account id, a cluster id, a model name.
        guarantee: Why the number may be believed.
        score: The detector's statistic; larger means more like extraction. Unit: see the detector.
        p_value: Chance of a score this large for an innocent subject, or None without calibration.
        log10_e: Base-10 logarithm of an e-value, or None; 2.0 is a bet won at 100 to 1.
        p_floor: Smallest p-value that the references can express, 1/(m+1).
        n: Number of exchanges that the score rests on.
        contribution: Share of the fused score due to this detector, in units of the fused score.
        summary: One sentence a person can check.
        exhibits: Request ids to open first, strongest first. Never prompt text.
        parameters_digest: SHA-256 of the parameters that made the score.

    Raises:
        ValueError: A number is NaN, `n` is negative, or `p_value` lies outside [p_floor, 1].
    """

    detector: str
    version: str
    subject: str
    guarantee: Guarantee
    score: float
    p_value: float | None = None
    log10_e: float | None = None
    p_floor: float = 1.0
    n: int = 0
    contribution: float = 0.0
    summary: str = ""
    exhibits: tuple[str, ...] = ()
    parameters_digest: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.score) or math.isnan(self.contribution):
            raise ValueError(f"evidence of {self.detector!r} must be a number, got NaN; return an Abstention")
        if self.n < 0:
            raise ValueError(f"evidence of {self.detector!r} must rest on n >= 0 exchanges, got {self.n}")
        if self.p_value is not None and not self.p_floor <= self.p_value <= 1:
            raise ValueError(
                f"p_value of {self.detector!r} must lie in [p_floor, 1] = [{self.p_floor:g}, 1], "
                f"got {self.p_value:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """A detector that cannot speak about a subject, and why.

    Attributes:
        detector: Name of the detector.
        subject: Who it was asked about.
        reason: What is missing, in words that say how to supply it.
    """

    detector: str
    subject: str
    reason: str
