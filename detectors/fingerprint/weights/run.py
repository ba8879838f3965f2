"""Two models side by side, as one verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdguard.detectors.fingerprint.weights.alignment import alignment, states
from kdguard.detectors.fingerprint.weights.initialisation import Likeness, Settings, same_initialisation
from kdguard.detectors.fingerprint.weights.matching import Matched, match_layers
from kdguard.detectors.fingerprint.weights.tensors import open_tensors
from kdguard.errors import LineageError
from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.scored import nothing_said
from kdguard.lineage.verdict import Lineage, LineageVerdict

NAME, VERSION = "weights.initialisation", "1"
_SHARED = (
    "the hidden units of both stand in one order: one began from the other's weights, or both from a third model's; "
    "which, this does not say"
)
_APART = (
    "the units stand in no common order; no proof of independence: units can be reordered without any loss"
)


def compare(suspect: Path, teacher: Path, settings: Settings, alpha: float = 0.01) -> LineageVerdict:
    """Test whether two model folders share an initialisation.

    Args:
        suspect: Folder of safetensors.
        teacher: Another.
        settings: Of the test.
        alpha: Chance of a false claim.

    Raises:
        ModelError: A folder is not safe to load.
        LineageError: A folder holds no feed-forward layer that is known.
    """
    mine, theirs = open_tensors(suspect), open_tensors(teacher)
    matched = _told(match_layers(mine, theirs), suspect.name)
    try:
        found = same_initialisation(mine, theirs, settings)
    except LineageError as error:
        return nothing_said(suspect.name, teacher.name, str(error))
    floor = 1.0 / (settings.reorderings + 1.0)
    evidence = evidence_of_likeness(found, suspect.name, floor)
    if floor > alpha:
        verdict, reason = Lineage.INCONCLUSIVE, f"{settings.reorderings} reorderings cannot support {alpha:g}"
    else:
        shared = found.p_value <= alpha
        verdict, reason = (Lineage.SUPPORTED, _SHARED) if shared else (Lineage.NOT_SUPPORTED, _APART)
    return LineageVerdict(
        suspect=suspect.name,
        teacher_family=teacher.name,
        verdict=verdict,
        reason=reason,
        p_value=found.p_value,
        p_adjusted=found.p_value,
        p_floor=floor,
        log10_e=None,
        score=evidence.score,
        queries=0,
        controls=0,
        families_tested=1,
        evidence=(evidence, matched),
    )


def evidence_of_likeness(found: Likeness, suspect: str, floor: float) -> Evidence:
    """The rank of the given order of units as evidence."""
    spread = max(float(found.reordered.std()), 1e-12)
    return Evidence(
        detector=NAME,
        version=VERSION,
        subject=suspect,
        guarantee=Guarantee.INVARIANCE,
        score=round((found.cosine - float(found.reordered.mean())) / spread, 6),
        p_value=found.p_value,
        p_floor=floor,
        n=found.units,
        summary=(
            f"mean cosine of {found.units} hidden units in place {found.cosine:.3f}, after reordering "
            f"{found.reordered.mean():.3f} and at most {found.reordered.max():.3f} in {len(found.reordered)}; exact if "
            "one of the two was started at random and its training treats hidden units alike"
        ),
    )


def _told(matched: Matched, suspect: str) -> Evidence:
    fit = float(np.mean([matched.fits[row, column] for row, column in enumerate(matched.best)] or [0.0]))
    pairs = ", ".join(f"{row}-{column}" for row, column in enumerate(matched.best[:8]))
    return Evidence(
        detector="weights.matching",
        version="1",
        subject=suspect,
        guarantee=Guarantee.DESCRIPTIVE,
        score=round(fit, 6),
        summary=(
            f"layers fit best as {pairs or 'none'}; mean cosine of matched units {fit:.3f}, {matched.moved:.0%} of "
            "them in other places; unrelated models match by chance as well"
        ),
    )


def aligned(suspect: Path, teacher: Path, prompts: Sequence[str]) -> Evidence:
    """Alignment of hidden states on prompts, layer by best layer; descriptive.

    Raises:
        ModelError: A folder is not safe or not whole.
        LineageError: Fewer than three prompts.
    """
    if len(prompts) < 3:
        raise LineageError(f"hidden states are compared on three prompts at least, got {len(prompts)}")
    mine, theirs = states(suspect, prompts), states(teacher, prompts)
    found = np.array([[alignment(left, right) for right in theirs] for left in mine])
    pairs = ", ".join(
        f"{row}-{int(found[row].argmax())}: {found[row].max():.2f}" for row in range(len(found))
    )
    return Evidence(
        detector="weights.alignment",
        version="1",
        subject=suspect.name,
        guarantee=Guarantee.DESCRIPTIVE,
        score=round(float(found.max(axis=1).mean()), 6),
        n=len(prompts),
        summary=f"linear CKA of hidden states, layer by best layer: {pairs}; high for unrelated models of one task too",
    )
