"""Similarity of wording: shared runs of words in answers to the same prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.cosines import cosines
from kdguard.detectors.fingerprint.grams import Stretch, gram_counts, weighted
from kdguard.lineage.families import Families
from kdguard.lineage.protocol import Reading
from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]

WHOLE = Stretch("whole")


@dataclass(frozen=True)
class Similarity:
    """Mean cosine, over a family's members, between weighted runs of one to three words of two answers to a prompt.

    It finds students that began from the family's weights, and students of teachers with a voice of their own. On
    families that everybody has learnt from, the controls stand as high as the students: see `Imitation`.

    Attributes:
        stretch: Which words are compared.
    """

    stretch: Stretch = WHOLE
    name: ClassVar[str] = "fingerprint.similarity"
    version: ClassVar[str] = "1"
    for_much_imitated: ClassVar[bool] = False
    contrasted: ClassVar[bool] = False
    summary: ClassVar[str] = "words in common with the answers of"

    def readings(
        self, responses: Responses, families: Families, wanted: npt.NDArray[np.int64]
    ) -> Iterator[Reading]:
        """Cosines in [0, 1]; nothing is learnt, so one reading ranks every control."""
        ranks = np.zeros((len(responses.models), len(families)), np.bool_)
        ranks[:, wanted] = True
        yield Reading(self.affinities(responses, families), ranks)

    def affinities(self, responses: Responses, families: Families) -> Floats:
        """Cosines in [0, 1], shape (P, M, K)."""
        grams = weighted(gram_counts(responses.texts, self.stretch))
        return cosines(grams, responses.answered, families)
