"""What tells a much imitated teacher from its imitators: a discriminator learnt on teachers' answers alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import Ridge

from kdguard.detectors.fingerprint.grams import Stretch
from kdguard.lineage.families import Families
from kdguard.lineage.protocol import Reading
from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_FOLDS = 2
_PENALTY = 3.0
_ANY_TOKEN = r"\w+|[^\w\s]"
"""Case and punctuation are kept: how a sentence is opened and closed is habit, where words follow the question."""


@dataclass(frozen=True)
class Imitation:
    """How firmly a discriminator takes a model's answer for one of the family's.

    It sets a family against those of other vendors that are not documented to have learnt from its vendor, is learnt on
    the teachers' answers to one half of the prompts and read on the other half, both ways, so that what a prompt is
    about cannot give a family away. A control that is itself such a teacher is compared with the suspect under a
    discriminator that has not seen its vendor: one that has learnt to reject the controls, and never saw the suspect,
    flatters the power (decision of 2026-11-28, with figures in README.md). Such ranks are those of a jackknife+: at
    most twice their nominal rate in theory (Barber et al. 2021, Ann. Stat. 49:486-507), about it in practice.

    Attributes:
        stretches: Which words are read; decisions are averaged over them, each on its own scale.
    """

    stretches: tuple[Stretch, ...] = (Stretch("opening", first=10), Stretch("closing", last=30, longest=2))
    name: ClassVar[str] = "fingerprint.imitation"
    version: ClassVar[str] = "2"
    for_much_imitated: ClassVar[bool] = True
    contrasted: ClassVar[bool] = True
    summary: ClassVar[str] = "taken by a discriminator of teachers for an answer of"

    def readings(
        self, responses: Responses, families: Families, wanted: npt.NDArray[np.int64]
    ) -> Iterator[Reading]:
        """Mean standardised decisions: once with every vendor, then once without each."""
        taught = _Taught.of(responses, families)
        views = [_grams(responses, stretch) for stretch in self.stretches]
        against = families.competitors
        vendors = _vendors(families)
        for left_out in ("", *sorted({vendors[at] for at in range(len(families))})):
            ranks = _ranked(families, vendors, against, wanted, left_out)
            found = np.full((len(responses.prompts), len(responses.models), len(families)), np.nan)
            for family in np.flatnonzero(ranks.any(axis=0)):
                others = against[family] & (vendors != left_out)
                found[:, :, family] = _decisions(views, taught, int(family), others)
            if ranks.any():
                yield Reading(found, ranks)


@dataclass(frozen=True)
class _Taught:
    """Family and fold of every answer; -1 = it teaches nothing."""

    family: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]
    answered: Bools

    @classmethod
    def of(cls, responses: Responses, families: Families) -> _Taught:
        answered = responses.answered
        family = np.where(answered, families.of_model[None, :], -1).ravel()
        fold = np.repeat(np.arange(len(answered)) % _FOLDS, answered.shape[1])
        return cls(family, fold, answered)


def _grams(responses: Responses, stretch: Stretch) -> csr_matrix:
    """Which runs of tokens each answer has, rows of unit length; runs of one answer alone are left out."""
    reader = HashingVectorizer(
        n_features=1 << 20,
        ngram_range=(1, stretch.longest),
        token_pattern=_ANY_TOKEN,
        lowercase=False,
        binary=True,
        alternate_sign=False,
        dtype=np.float32,
    )
    found = reader.transform([stretch.of(text) for text in responses.texts.to_pylist()])
    return found[:, np.bincount(found.indices, minlength=found.shape[1]) > 1]


def _vendors(families: Families) -> npt.NDArray[np.str_]:
    """Vendor of each family; one that is not told stands for itself."""
    return np.array([family.vendor or family.name for family in families.each])


def _ranked(
    families: Families,
    vendors: npt.NDArray[np.str_],
    against: Bools,
    wanted: npt.NDArray[np.int64],
    left_out: str,
) -> Bools:
    """Models that the discriminators without a vendor have not seen, but others have, shape (M, K)."""
    teaches = np.zeros((len(families.of_model), len(families)), np.bool_)
    members = families.of_model >= 0
    teaches[members] = against[:, families.of_model[members]].T
    own = np.zeros(len(members), np.bool_)
    own[members] = vendors[families.of_model[members]] == left_out
    ranks = np.zeros_like(teaches)
    ranks[:, wanted] = (teaches & own[:, None] if left_out else ~teaches)[:, wanted]
    return ranks


def _decisions(views: Sequence[csr_matrix], taught: _Taught, family: int, others: Bools) -> Floats:
    """Decision on each answer, learnt on the other fold and averaged over views, shape (P, M)."""
    total = np.zeros(len(taught.family))
    teaches = (taught.family == family) | ((taught.family >= 0) & others[taught.family])
    for grams in views:
        found = np.full(len(taught.family), np.nan)
        for fold in range(_FOLDS):
            learnt = np.flatnonzero(teaches & (taught.fold != fold))
            read = np.flatnonzero(taught.fold == fold)
            is_family = taught.family[learnt] == family
            if is_family.any() and not is_family.all():
                found[read] = _learnt(grams[learnt], is_family).predict(grams[read])
        known = found[taught.answered.ravel()]
        if np.isnan(known).all():
            return np.full(taught.answered.shape, np.nan)
        total += (found - np.nanmedian(known)) / max(float(np.nanstd(known)), 1e-12)
    return np.where(taught.answered, (total / len(views)).reshape(taught.answered.shape), np.nan)


def _learnt(grams: csr_matrix, is_family: Bools) -> Ridge:
    """Ridge regression on -1 and 1, both sides of equal weight."""
    weight = np.where(is_family, 0.5 / is_family.mean(), 0.5 / (~is_family).mean())
    machine = Ridge(alpha=_PENALTY, solver="sparse_cg", tol=1e-2)
    return machine.fit(grams, np.where(is_family, 1.0, -1.0), sample_weight=weight)
