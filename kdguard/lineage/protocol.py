"""What a text test of lineage is: how much like each family each answer is. Everything after that is shared."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from kdguard.lineage.families import Families
from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]


class Affinity(Protocol):
    """A frozen value that compares answers with families; ranking among controls turns that into evidence.

    Attributes:
        name: Name of the test.
        version: Changes with anything that changes a number.
        for_much_imitated: It drives the verdict on families that many have learnt from; the others' is driven by
            the test for which this is False.
        summary: What a large value means, in words a person can check.
    """

    @property
    def name(self) -> str:
        """Name of the test."""
        ...

    @property
    def version(self) -> str:
        """Version."""
        ...

    @property
    def for_much_imitated(self) -> bool:
        """Which families' verdict it drives."""
        ...

    @property
    def summary(self) -> str:
        """What a large value means."""
        ...

    def affinities(self, responses: Responses, families: Families) -> Floats:
        """How much like family k model m answers prompt p, shape (P, M, K), any unit; NaN = cannot tell.

        A model is never compared with itself.
        """
        ...
