"""Radioactivity by contrast: one number for whether a suspect leans to a key's tokens more than clean models do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.detect import MEANING, VERSION, Decoys, parameters_digest
from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.laws import Tail, law_of, tail_of
from kdguard.detectors.watermark.radioactivity.weights import Weighted
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention, Evidence, Guarantee

Floats = npt.NDArray[np.float64]

_CHUNK = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Radioactivity:
    """What one key says of what a suspect learnt.

    Attributes:
        subject: The suspect.
        mode: `closed` by its text, `open` by what it expects.
        scheme: The mark.
        tokens: Tokens it wrote, or places it was read at.
        used: Those that count.
        pairs: Pairs of window and token that are weighed.
        tail: Of the weighted sum.
        decoys: The decoys' own account, or None.
        committed: The key was committed to before its first use.
    """

    subject: str
    mode: str
    scheme: Scheme
    tokens: int
    used: int
    pairs: int
    tail: Tail
    decoys: Decoys | None
    committed: bool

    @property
    def log10_p(self) -> float | None:
        """Of the saddlepoint's tail; None where decoys speak against it."""
        return None if self.decoys is not None and self.decoys.distrust else self.tail.log10_p

    @property
    def p_value(self) -> float:
        """The tail's p, or the decoys' where it is withheld."""
        if self.log10_p is None and self.decoys is not None:
            return self.decoys.p_value
        return float(10.0**self.tail.log10_p)

    @property
    def p_floor(self) -> float:
        """Least p that could have come out: no exact tail has one."""
        return 0.0 if self.log10_p is not None or self.decoys is None else 1 / (self.decoys.count + 1)

    @property
    def left_out(self) -> str:
        """What does not count, for a person."""
        return f"; {self.tokens - self.used} tokens after windows that do not count left out"

    @property
    def guarantee(self) -> Guarantee:
        """Randomised only if the key was committed to and decoys were asked."""
        return Guarantee.RANDOMISED if self.committed and self.decoys is not None else Guarantee.DESCRIPTIVE

    @property
    def summary(self) -> str:
        """A sentence a person can check, with the null hypothesis."""
        told = f"{self.mode} contrast over {self.used} of {self.tokens} tokens, z {self.tail.z:.2f}, "
        if self.log10_p is not None:
            told += f"p 10^{self.log10_p:.2f} by saddlepoint, at most 10^{self.tail.log10_bound:.2f}"
        elif self.decoys is not None:
            told += f"p {self.p_value:.2g} by decoy keys; the tail is withheld: {self.decoys.distrust}"
        return f"{told}. {MEANING}"

    def evidence(self) -> Evidence:
        """As the house's common currency; the score is z."""
        return Evidence(
            detector=f"radioactivity.{self.scheme.name}",
            version=VERSION,
            subject=self.subject,
            guarantee=self.guarantee,
            score=self.tail.z,
            p_value=self.p_value,
            p_floor=self.p_floor,
            n=self.used,
            summary=self.summary,
            parameters_digest=parameters_digest(self.scheme),
        )

    def to_json(self) -> dict[str, Any]:
        """As one line of `--json`."""
        decoys = self.decoys
        return {
            "subject": self.subject,
            "mode": self.mode,
            "scheme": self.scheme.record(),
            "tokens": self.tokens,
            "used": self.used,
            "pairs": self.pairs,
            "z": round(self.tail.z, 4),
            "p_value": self.p_value,
            "log10_p": self.log10_p,
            "p_floor": self.p_floor,
            "log10_p_bound": self.tail.log10_bound,
            "decoys": None if decoys is None else decoys.to_json(),
            "committed": self.committed,
            "guarantee": self.guarantee.value,
            "summary": self.summary,
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
    if len(key.words) != scheme.key_words:
        raise WatermarkError(
            f"a key of '{scheme.name}' has {scheme.key_words} numbers, this one has {len(key.words)}"
        )
    law = law_of(scheme)
    if not len(weighted.weights):
        return Abstention(
            detector=f"radioactivity.{scheme.name}",
            subject=subject,
            reason=f"none of {weighted.tokens} tokens stands after a window that the reference shows often enough: "
            "give more text of the suspect or of clean models, or lower the gate",
        )
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
        used=weighted.used,
        pairs=len(weighted.weights),
        tail=own,
        decoys=asked,
        committed=committed,
    )


def sums(scheme: Scheme, keys: npt.NDArray[np.uint64], weighted: Weighted) -> Floats:
    """Sum over pairs of weight times (score - mean) for each of m keys, shape (m,); what a key cannot tell is 0."""
    found = np.zeros(len(keys))
    for begin in range(0, len(weighted.weights), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        pairs, weights = weighted.pairs.take(part), weighted.weights[part]
        for place, key in enumerate(keys):
            found[place] += np.nan_to_num(scheme.scores(key, pairs) - scheme.mean) @ weights
    return found
