"""What a text test of lineage is: how much like each family each answer is. Everything after that is shared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kdguard.lineage.families import Families
from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """One reading of all answers.

    A test that learns from some models' answers must not rank a suspect, from which it has learnt nothing, among
    models from which it has: it reads once for every set of models it leaves out, and ranks those among which it
    has not learnt from any.

    Attributes:
        affinities: How much like family k model m answers prompt p, shape (P, M, K), any unit; NaN = cannot tell.
            A model is never compared with itself.
        ranks: Which controls are ranked under this reading for which family, shape (M, K). Over all readings of a
            test each model comes up at most once a family.
    """

    affinities: Floats
    ranks: npt.NDArray[np.bool_]


class Affinity(Protocol):
    """A frozen value that compares answers with families; ranking among controls turns that into evidence.

    Attributes:
        name: Name of the test.
        version: Changes with anything that changes a number.
        for_much_imitated: It drives the verdict on families that many have learnt from, and reads no others; those are
            driven by the test for which this is False.
        contrasted: Its affinities already set each family against the others; else their double difference is taken.
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
    def contrasted(self) -> bool:
        """Whether affinities are differences already."""
        ...

    @property
    def summary(self) -> str:
        """What a large value means."""
        ...

    def readings(
        self, responses: Responses, families: Families, wanted: npt.NDArray[np.int64]
    ) -> Iterator[Reading]:
        """Read the answers, as often as learning calls for; only the families wanted need be filled in."""
        ...
