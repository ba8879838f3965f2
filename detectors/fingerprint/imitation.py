"""What tells a much imitated teacher from its imitators: a discriminator learnt on teachers' answers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.linear_model import RidgeClassifier

from kdguard.detectors.fingerprint.grams import Stretch, gram_counts, unit_rows
from kdguard.lineage.families import Families
from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]

_FOLDS = 2
_PENALTY = 3.0


@dataclass(frozen=True)
class Imitation:
    """How firmly a classifier of teachers takes a model's answer for one of the family's.

    It is learnt on the teachers' answers to one half of the prompts and read on the other half, both ways, so that
    what a prompt is about cannot give a family away. Controls and suspects teach it nothing and are read alike.

    Attributes:
        stretches: Which words are read; decisions are averaged over them, each on its own scale.
    """

    stretches: tuple[Stretch, ...] = (Stretch("opening", first=10), Stretch("start", first=80, longest=2))
    name: ClassVar[str] = "fingerprint.imitation"
    version: ClassVar[str] = "1"
    for_much_imitated: ClassVar[bool] = True
    summary: ClassVar[str] = "taken by a discriminator of teachers for an answer of"

    def affinities(self, responses: Responses, families: Families) -> Floats:
        """Mean standardised decision, shape (P, M, K)."""
        shape = (len(responses.prompts), len(responses.models), len(families))
        if len(families) < 2 or len(responses.prompts) < _FOLDS:
            return np.full(shape, np.nan)
        answered = responses.answered.ravel()
        label = np.tile(families.of_model, len(responses.prompts))
        label[~answered] = -1
        fold = np.repeat(np.arange(len(responses.prompts)) % _FOLDS, len(responses.models))
        total = np.zeros((len(label), len(families)))
        for stretch in self.stretches:
            grams = gram_counts(responses.texts, stretch)
            grams.data[:] = 1
            decision = _decisions(unit_rows(grams), label, fold, len(families))
            total += decision / np.nanstd(decision[answered], axis=0)
        total[~answered] = np.nan
        return (total / len(self.stretches)).reshape(shape)


def _decisions(
    grams: csr_matrix, label: npt.NDArray[np.int64], fold: npt.NDArray[np.int64], families: int
) -> Floats:
    """Decision for each family on the prompts that its classifier did not see, shape (n, K); NaN = none learnt."""
    found = np.full((len(label), families), np.nan)
    for at in range(_FOLDS):
        taught, read = np.flatnonzero((fold != at) & (label >= 0)), np.flatnonzero(fold == at)
        classes = np.unique(label[taught])
        if len(classes) < 2:
            continue
        machine = RidgeClassifier(alpha=_PENALTY, class_weight="balanced", solver="sparse_cg", tol=1e-2)
        machine.fit(grams[taught], label[taught])
        decision = machine.decision_function(grams[read])
        if len(classes) == 2:
            decision = np.stack([-decision, decision], axis=1)
        found[np.ix_(read, classes)] = decision
    return found
