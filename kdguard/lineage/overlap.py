"""Verbatim and near-verbatim overlap of answers with a teacher's: a fact beside the verdict, never a claim.

Ordinary models share hardly any run of eight words with a teacher's answer to the same prompt. Much more means that
answers were copied, looked up, or corrected from it, or that the prompt leaves little to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from kdguard.features.text import Codes, hash_words, word_runs
from kdguard.lineage.families import Families
from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]

RUN_WORDS = 8
ORDINARY = 0.036
"""Of 1,900 pairs of a real model and a family of teachers 17 overlap more; 14 of these models are documented to be the
family's own or to have begun from its weights (403 prompts, see README.md)."""
NEARLY_VERBATIM = 0.5
"""Share of an answer's runs from which on it counts as nearly verbatim."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Overlap of one suspect with one family.

    Attributes:
        share: Mean share of the runs of eight words of its answers that stand in the same teacher's answer too.
        nearly_verbatim: Prompts on which more than half of the runs do.
        prompts: Prompts compared: both answered, the suspect with at least eight words.
        largest_control: Largest share among the controls; None = no controls.
        controls_as_high: Controls with at least this share.
        examples: Prompt ids with most overlap, most first.
    """

    share: float
    nearly_verbatim: int
    prompts: int
    largest_control: float | None
    controls_as_high: int
    examples: tuple[str, ...]

    @property
    def is_unusual(self) -> bool:
        """More than ordinary models showed, and more than every control."""
        return self.share > max(ORDINARY, self.largest_control or 0.0)


def containments(responses: Responses, families: Families) -> Floats:
    """Share of each answer's runs of eight words that stand in a family member's answer, shape (P, M, K).

    Of several members the one counts whose answers overlap most with the model's over all prompts. NaN = nothing to
    compare. No model is compared with itself.
    """
    members = np.flatnonzero(families.of_model >= 0)
    models, prompts = len(responses.models), len(responses.prompts)
    codes, owner = _runs(responses)
    prompt = owner // models
    bounds = np.searchsorted(prompt, np.arange(prompts + 1))
    found = np.full((prompts, models, len(members)), np.nan)
    for at in range(prompts):
        inside = slice(bounds[at], bounds[at + 1])
        found[at] = _contained(codes[inside], owner[inside] - at * models, models, members)
    found[:, members, np.arange(len(members))] = np.nan
    return _to_families(found, families.of_model[members], len(families))


def overlaps(
    containment: Floats, responses: Responses, suspect: int, controls: npt.NDArray[np.int64]
) -> Overlap | None:
    """What one suspect shares with one family; None = nothing could be compared.

    Args:
        containment: For the family, shape (P, M).
        responses: The table.
        suspect: Column of the suspect.
        controls: Columns of its controls.
    """
    own = containment[:, suspect]
    known = ~np.isnan(own)
    if not known.any():
        return None
    told = ~np.isnan(containment[:, controls])
    total = np.where(told, containment[:, controls], 0.0).sum(axis=0)
    others = (total / np.maximum(told.sum(axis=0), 1))[told.any(axis=0)]
    share = float(own[known].mean())
    highest = [at for at in np.argsort(-np.where(known, own, -1.0), kind="stable")[:3] if own[at] > 0]
    return Overlap(
        share=share,
        nearly_verbatim=int((own[known] > NEARLY_VERBATIM).sum()),
        prompts=int(known.sum()),
        largest_control=float(others.max()) if len(others) else None,
        controls_as_high=int((others >= share).sum()),
        examples=tuple(responses.prompts[at] for at in highest),
    )


def longest_shared(text: str, other: str) -> str:
    """The longest run of words that two texts share, as the first spells it; empty below eight words."""
    words = list(_WORD.finditer(text))
    left, right = [word[0].lower() for word in words], _WORD.findall(other.lower())
    best, end = 0, 0
    before = [0] * (len(right) + 1)
    for at, word in enumerate(left):
        row = [0] * (len(right) + 1)
        for place, same in enumerate(right):
            if word == same:
                row[place + 1] = before[place] + 1
                if row[place + 1] > best:
                    best, end = row[place + 1], at
        before = row
    return text[words[end - best + 1].start() : words[end].end()] if best >= RUN_WORDS else ""


def _runs(responses: Responses) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Codes of all runs of eight words that lie within one answer, and whose answer it is, ascending."""
    words = hash_words(responses.texts)
    text = np.repeat(np.arange(len(words.size_bytes)), np.diff(words.indptr))
    return next(word_runs(words.words, text, range(RUN_WORDS, RUN_WORDS + 1)))


def _contained(
    codes: Codes, model: npt.NDArray[np.int64], models: int, members: npt.NDArray[np.int64]
) -> Floats:
    """Share of each model's runs in each member's answer to one prompt, shape (M, T); NaN = one has no run."""
    distinct, column = np.unique(codes, return_inverse=True)
    has = csr_matrix((np.ones(len(codes)), (model, column)), shape=(models, len(distinct)))
    has.data[:] = 1.0
    count = np.asarray(has.sum(axis=1)).ravel()
    shared = (has @ has[members].T).toarray()
    known = (count[:, None] > 0) & (count[members][None, :] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, shared / count[:, None], np.nan)


def _to_families(found: Floats, family: npt.NDArray[np.int64], families: int) -> Floats:
    """The member that a model overlaps with most, shape (P, M, K)."""
    prompts, models, _ = found.shape
    known = ~np.isnan(found)
    mean = np.where(known, found, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    mean[known.sum(axis=0) == 0] = -1.0
    result = np.full((prompts, models, families), np.nan)
    for at in range(families):
        columns = np.flatnonzero(family == at)
        chosen = columns[mean[:, columns].argmax(axis=1)]
        result[:, :, at] = found[:, np.arange(models), chosen]
    return result


def summary(overlap: Overlap, family: str) -> str:
    """One sentence of fact."""
    told = (
        f"{overlap.share:.1%} of runs of {RUN_WORDS} words stand in the answers of {family} too, "
        f"{overlap.nearly_verbatim} of {overlap.prompts} answers are nearly verbatim"
    )
    if overlap.largest_control is not None:
        told += f"; the controls reach {overlap.largest_control:.1%}"
    return told
