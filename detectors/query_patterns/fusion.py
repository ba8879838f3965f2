"""D10: how much each detector output is trusted to be the one that gives an attacker away.

The fused score is the weighted mean of bets on rarities (`kdguard.scoring.standardise.fuse`), so one strong output is
enough and contributions add up. Weights are the shares of a mixture: which output speaks for which share of
simulated attackers. They are learnt on simulated worlds and shipped in `fusion.json`; thresholds are not: those come
from each provider's own references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kdguard.scoring.standardise import bets

Floats = npt.NDArray[np.float64]

_VISIBLE = 2.0
_ROUNDS = 200
_LEAST = 0.004
_WORDING = ("technique_rate.mean", "mixture_tail.contamination", "mixture_tail.focus")
_VOICE = "mixture_tail.contamination"


def fit_weights(
    rarity: Floats, is_attack: npt.NDArray[np.bool_], outputs: Sequence[str]
) -> Mapping[str, float]:
    """Learn mixture shares by expectation maximisation (Dempster, Laird and Rubin 1977, JRSS B 39:1-38).

    Attackers that no output sees (no rarity of 2, one in a hundred) teach nothing and are left out. An output that is
    as often the loudest for honest accounts loses that share again. No output gets less than a small share, so that
    an attack of another kind than the simulated ones can still be seen.

    Args:
        rarity: -log10 p of each output, shape (t, k).
        is_attack: Which rows are attackers', shape (t,).
        outputs: Names of the columns.

    Returns:
        Share by output; they add to 1.

    Raises:
        ValueError: No attacker is visible, or there is no honest row.
    """
    visible = rarity[is_attack & (rarity.max(axis=1) >= _VISIBLE)]
    honest = rarity[~is_attack]
    if not len(visible) or not len(honest):
        raise ValueError("fusion weights need honest rows and visible attackers, got one kind only")
    attack_share = _mixture(visible)
    honest_share = _mixture(honest[honest.max(axis=1) >= _VISIBLE]) if len(honest) else attack_share
    useful = np.maximum(attack_share - 0.5 * honest_share, 0) + _LEAST
    share = _one_voice(useful / useful.sum(), outputs)
    return {name: round(float(value), 4) for name, value in zip(outputs, share, strict=True)}


def _one_voice(share: Floats, outputs: Sequence[str]) -> Floats:
    """Give the wording family's share to the one member that is an e-value.

    Its members read the same request scores, so a mixture cannot tell them apart. The Bayes factor is on one scale at
    every number of requests; the other two are standardised at each from few references, and that noise would set
    the threshold of all.
    """
    family = np.array([name in _WORDING for name in outputs])
    voice = np.array([name == _VOICE for name in outputs])
    if not voice.any():
        return share
    quiet = np.where(family & ~voice, _LEAST, share)
    return np.where(voice, share[family].sum() - quiet[family & ~voice].sum(), quiet)


def _mixture(rarity: Floats) -> Floats:
    width = rarity.shape[1]
    share = np.full(width, 1 / width)
    each = bets(rarity, np.ones(width))
    for _ in range(_ROUNDS):
        weighted = each * share
        share = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
    return share
