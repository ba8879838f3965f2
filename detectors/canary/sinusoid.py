"""A keyed sinusoid on a classifier's probabilities, found again in a student that learnt from them.

After GINSEW (Zhao et al. 2023) and DRW: a probability is moved by eps cos(f v.x) along a keyed direction v of the
features x. Instead of a threshold on the periodogram, the power at the key's direction is ranked among decoy keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from kdguard.detectors.canary.decoys import DECOYS, decoy_keys, rank_p
from kdguard.errors import CanaryError
from kdguard.evidence import Evidence, Guarantee
from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.draws import words
from kdguard.stats.conformal import p_floor
from kdguard.stats.multiplicity import holm

Floats = npt.NDArray[np.float64]
_DECOYS_AT_ONCE = 1_000


def text_features(texts: Sequence[str], width: int = 16) -> Floats:
    """Public features of texts: signed hashed words, each row of mean square 1. Shape (n, width)."""
    rows = np.zeros((len(texts), width))
    for row, text in zip(rows, texts, strict=True):
        for word in text.casefold().split():
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            row[int.from_bytes(digest[:4], "little") % width] += 1 if digest[4] % 2 else -1
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.sqrt(width) / np.where(norms > 0, norms, 1)


def direction(key: bytes, width: int) -> Floats:
    """Direction of a key: `width` normal draws of variance 1 / width."""
    uniform = (words(key, ["direction"], width).astype(np.float64) + 0.5) / 2**64
    return ndtri(np.clip(uniform, 1e-16, 1 - 1e-16)) / np.sqrt(width)


def perturb(
    probabilities: Floats, features: Floats, key: bytes, *, label: int, size: float, frequency: float
) -> Floats:
    """Move one label's probability along the sinusoid, the others in proportion, so that rows still add up to 1.

    Args:
        probabilities: Shape (n, labels).
        features: Shape (n, d), of about unit variance.
        key: Of the account.
        label: Whose probability is moved.
        size: Largest move as a share of what there is to move, in (0, 1).
        frequency: Radians a unit of v.x.

    Raises:
        CanaryError: `size` outside (0, 1).
    """
    if not 0 < size < 1:
        raise CanaryError(f"size of the sinusoid must be in (0, 1), got {size:g}")
    wave = np.cos(frequency * features @ direction(key, features.shape[1]))
    own = probabilities[:, label]
    moved = own + size * wave * np.minimum(own, 1 - own)
    rest = np.where(own < 1, (1 - moved) / np.where(own < 1, 1 - own, 1), 1)
    marked = probabilities * rest[:, None]
    marked[:, label] = moved
    return marked


def sinusoid(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Rank the power of each account's sinusoid in a suspect's probabilities among decoy keys, Holm-adjusted.

    Args:
        statistics: `features` (n rows of d numbers) of queries fixed before looking, `residuals` (n numbers): the
            suspect's probability of the label, less the classifier's own before marking if that is known.
        parameters: As committed: `accounts`, `frequency`.
        keys: The accounts' keys.
    """
    features = np.asarray(statistics["features"], np.float64)
    residuals = np.asarray(statistics["residuals"], np.float64)
    if features.ndim != 2 or residuals.shape != features.shape[:1] or not np.isfinite(residuals).all():
        raise CanaryError(f"residuals must be one finite number a row of features, got {residuals.shape}")
    frequency = float(parameters["frequency"])
    raw = []
    for name, key in keys.items():
        own = power(features, residuals, [key], frequency)[0]
        raw.append(rank_p(own, power(features, residuals, decoy_keys(name, parameters), frequency)))
    adjusted = holm(raw, int(parameters["accounts"]))
    return tuple(
        _evidence(name, residuals.size, p, float(q), parameters)
        for name, p, q in zip(keys, raw, adjusted, strict=True)
    )


def power(features: Floats, residuals: Floats, keys: Sequence[bytes], frequency: float) -> Floats:
    """Squared amplitude of the residuals along each key's sinusoid, whatever its phase, shape (len(keys),)."""
    centred = residuals - residuals.mean()
    powers = []
    for start in range(0, len(keys), _DECOYS_AT_ONCE):
        some = keys[start : start + _DECOYS_AT_ONCE]
        angles = frequency * features @ np.stack([direction(key, features.shape[1]) for key in some]).T
        powers.append((centred @ np.cos(angles)) ** 2 + (centred @ np.sin(angles)) ** 2)
    # A last bit that depends on how matrices are cut must not break a tie.
    return np.round(np.concatenate(powers), 9)


def _evidence(
    name: KeyName, asked: int, raw: float, adjusted: float, parameters: Mapping[str, Any]
) -> Evidence:
    return Evidence(
        detector="canary.sinusoid",
        version="1",
        subject=name.account,
        guarantee=Guarantee.RANDOMISED,
        score=-float(np.log2(raw)),
        p_value=adjusted,
        p_floor=p_floor(DECOYS),
        n=asked,
        summary=(
            f"the account's sinusoid is stronger than all but {round(raw * (DECOYS + 1)) - 1:,} of {DECOYS:,} decoys "
            f"over {asked} queries (p = {raw:.3g} alone, {adjusted:.3g} over the accounts)"
        ),
        parameters_digest=sha256(canonical(dict(parameters))),
    )
