"""What scores: a request classifier, detectors, and the weights that fuse them. Passed in, never imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.embedding import Embedding
from kdguard.features.familiarity import Familiarity
from kdguard.features.session import Rows
from kdguard.features.signals import Encoder
from kdguard.features.text import Words, hash_words
from kdguard.scan import Detector, output_names
from kdguard.scoring.groups.statistics import GroupStatistic
from kdguard.scoring.groups.ties import Tie

Floats = npt.NDArray[np.float64]


class LearntTechniqueModel(Protocol):
    """A request classifier that can learn from a provider's own benign prompts."""

    @property
    def techniques(self) -> tuple[str, ...]:
        """Names of the techniques, in column order of the margins."""
        ...

    def margins(self, words: Words) -> npt.NDArray[np.int32]:
        """Return log-odds of each technique against benign, nats x 256, shape (n, k)."""
        ...

    def fit(self, prompts: Sequence[str], *, seed: int = 0) -> Self:
        """Return the classifier learnt from benign prompts."""
        ...


@dataclass(frozen=True)
class Suite:
    """Everything that turns exchanges into one score an account.

    Attributes:
        technique: Classifier of single requests (D1).
        detectors: Detectors, whose outputs become score columns (D2 to D9).
        weights: Non-negative weight of each `detector.output` in the fused score (D10).
        embedding: Random-hyperplane embedding of prompts.
        familiarity: Word pairs of the reference.
        ties: What ties owners into candidate groups (X1, X3 to X5); empty = groups are not looked for.
        statistics: What only a group can show (X2 to X4).
    """

    technique: LearntTechniqueModel
    detectors: tuple[Detector, ...]
    weights: Mapping[str, float]
    embedding: Embedding = field(default_factory=Embedding)
    familiarity: Familiarity = field(default_factory=Familiarity)
    ties: tuple[Tie, ...] = ()
    statistics: tuple[GroupStatistic, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the score columns."""
        return output_names(self.detectors)

    @property
    def encoder(self) -> Encoder:
        """The encoder of exchanges into signals."""
        return Encoder(self.technique, self.embedding, self.familiarity)

    @property
    def weight_vector(self) -> Floats:
        """Weights in the order of `outputs`, shape (k,)."""
        return np.array([self.weights.get(name, 0.0) for name in self.outputs])

    def fit_prompts(self, prompts: Sequence[str], *, seed: int) -> Suite:
        """Learn the request classifier and the embedding's word weights from benign prompts."""
        words = hash_words(pa.array(prompts, pa.string()))
        return replace(
            self,
            technique=self.technique.fit(prompts, seed=seed),
            embedding=Embedding.fit(words),
            familiarity=Familiarity.fit(words),
        )

    def fit_rows(self, rows: Rows) -> Suite:
        """Learn every detector's parameters from reference rows."""
        return replace(self, detectors=tuple(detector.fit(rows) for detector in self.detectors))
