"""Radioactivity by contrast: one number for whether a suspect leans to a key's tokens more than clean models do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.decoys import Decoys
from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.laws import Tail, law_of, tail_of
from kdguard.detectors.watermark.radioactivity.weights import Weighted
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.verdict import Verdict, abstention, check_key
from kdguard.evidence import Abstention

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Radioactivity(Verdict):
    """What one key says of what a suspect learnt.

    Attributes:
        mode: `closed` by its text, `open` by what it expects.
        scored: Tokens or places that count.
        pairs: Pairs of window and token that are weighed.
        tail: Of the weighted sum.
    """

    kind: ClassVar[str] = "radioactivity"
    mode: str
    scored: int
    pairs: int
    tail: Tail

    @property
    def z(self) -> float:
        """See `Verdict`."""
        return self.tail.z

    @property
    def log10_tail(self) -> float:
        """See `Verdict`; by saddlepoint."""
        return self.tail.log10_p

    @property
    def left_out(self) -> str:
        """See `Verdict`."""
        return f"; {self.tokens - self.scored} tokens after windows that do not count left out"

    @property
    def told(self) -> str:
        """See `Verdict`."""
        return f"{self.mode} contrast over {self.scored} of {self.tokens} tokens"

    @property
    def tail_told(self) -> str:
        """See `Verdict`."""
        return f"p 10^{self.tail.log10_p:.2f} by saddlepoint, at most 10^{self.tail.log10_bound:.2f}"

    def details(self) -> dict[str, Any]:
        """See `Verdict`."""
        return {
            "mode": self.mode,
            "scored": self.scored,
            "pairs": self.pairs,
            "log10_p_bound": self.tail.log10_bound,
        }


def radioactivity(
    scheme: Scheme,
    key: MarkKey,
    weighted: Weighted,
    *,
    subject: str,
    mode: str,
    decoys: int = 999,
    committed: bool = False,
) -> Radioactivity | Abstention:
    """Test whether a suspect leans to a key's tokens.

    Args:
        scheme: The mark.
        key: The key.
        weighted: From `closed_contrast` or `open_contrast`.
        subject: The suspect's name.
        mode: `closed` or `open`.
        decoys: Decoy keys that guard the tail.
        committed: The key was committed to before its first use, and the commitment was checked.

    Raises:
        WatermarkError: A key of the wrong length, or a mark whose pairs are not independent.
    """
    check_key(scheme, key)
    law = law_of(scheme)
    if not len(weighted.weights):
        reason = (
            f"none of {weighted.tokens} tokens stands after a window that the reference shows often enough: give more "
            "text of the suspect or of clean models, or lower the gate"
        )
        return abstention(Radioactivity.kind, scheme, key, subject, reason)
    own = tail_of(law, weighted.weights, float(sums(scheme, key.words[None], weighted)[0]))
    asked = None
    if decoys:
        # the spread over keys is the weights' alone, so decoys compare by their sums
        spread = float(np.sqrt((law.cumulants(np.zeros(1))[2] * weighted.weights**2).sum()))
        z = sums(scheme, key.decoys(decoys, scheme.key_bits), weighted) / spread
        asked = Decoys.of(z, own.z)
    return Radioactivity(
        subject=subject,
        mode=mode,
        scheme=scheme,
        tokens=weighted.tokens,
        scored=weighted.used,
        pairs=len(weighted.weights),
        tail=own,
        decoys=asked,
        committed=committed,
        account=key.account,
        among=key.among,
    )


def sums(scheme: Scheme, keys: npt.NDArray[np.uint64], weighted: Weighted) -> Floats:
    """Sum over pairs of weight times (score - mean) for each of m keys, shape (m,); what a key cannot tell is 0."""
    found = np.zeros(len(keys))
    for begin in range(0, len(weighted.weights), scheme.at_once):
        part = slice(begin, begin + scheme.at_once)
        pairs, weights = weighted.pairs.take(part), weighted.weights[part]
        for place, key in enumerate(keys):
            found[place] += np.nan_to_num(scheme.scores(key, pairs) - scheme.mean) @ weights
    return found
