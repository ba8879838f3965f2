"""X1: different owners pay with the same instrument, or call with the same key or from the same network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.detectors.query_patterns.coordination.alike import Alike, Floats, across_owners
from kdguard.scoring.groups.pooled import HalfOne


@dataclass(frozen=True)
class OneOrigin(Alike):
    """Chance that requests of two different owners come from one payment instrument, key or /24 network.

    CISA AA26-251A and the disclosures behind the log-scoring reference (section 1) name shared payment and address
    pools. Offices share both within one owner, which is not counted; gateways and cloud exits are shared by honest
    owners too, which is why a group is ranked among groups.
    """

    name = "one_origin"
    supporting = True

    def measure(self, half: HalfOne) -> Floats:
        """Largest of the three chances."""
        codes = (half.payment, half.rows.key, half.rows.network)
        return np.fmax.reduce([across_owners(half, code) for code in codes])

    def explain(self, value: float) -> str:
        """Say it in words."""
        return (
            f"requests of different owners share a payment instrument, key or network with chance {value:.2f}"
        )
