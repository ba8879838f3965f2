"""Similarity of wording: shared runs of words in answers to the same prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

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
        answered = responses.answered
        members = np.flatnonzero(families.of_model >= 0)
        of_member = np.eye(len(families))[families.of_model[members]]  # (T, K)
        models = len(responses.models)
        found = np.empty((len(answered), models, len(families)))
        for prompt, present in enumerate(answered):
            rows = grams[prompt * models : (prompt + 1) * models]
            found[prompt] = _to_families(rows, members, of_member, present)
        return found


def _to_families(
    rows: csr_matrix, members: npt.NDArray[np.int64], of_member: Floats, present: npt.NDArray[np.bool_]
) -> Floats:
    """Mean cosine to each family's members that answered, itself left out, shape (M, K); NaN where there is none."""
    cosine = (rows @ rows[members].T).toarray().astype(np.float64)
    known = present[:, None] & present[members][None, :]
    known[members, np.arange(len(members))] = False
    count = known @ of_member
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, np.where(known, cosine, 0.0) @ of_member / np.maximum(count, 1), np.nan)
