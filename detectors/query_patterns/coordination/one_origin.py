"""X1: different owners pay with the same instrument, or call with the same key or from the same network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination.one_frame import across_owners
from kdguard.evidence import Guarantee
from kdguard.scoring.groups.pooled import HalfOne

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OneOrigin:
    """Chance that requests of two different owners come from one payment instrument, key or /24 network.

    CISA AA26-251A and the disclosures behind the log-scoring reference (section 1) name shared payment and address
    pools. Offices share both within one owner, which is not counted; gateways and cloud exits are shared by honest
    owners too, which is why a group is ranked among groups.
    """

    name: str = "one_origin"
    version: str = "1"
    guarantee: Guarantee = Guarantee.DESCRIPTIVE
    weight: float = 1.0
    supporting: bool = True

    def measure(self, half: HalfOne) -> Floats:
        """Largest of the three chances."""
        codes = (half.payment, half.rows.key, half.rows.network)
        return np.fmax.reduce([across_owners(half, code) for code in codes])

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """log2 of one more than the owners that share it."""
        return np.log2(1.0 + units * np.maximum(value, 0.0))

    def explain(self, value: float) -> str:
        """Say it in words."""
        return (
            f"requests of different owners share a payment instrument, key or network with chance {value:.2f}"
        )
