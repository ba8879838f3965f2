"""Radioactivity with a stop at any time: an e-process over a suspect's answers, batch by batch.

Watching a p-value until it is small is not a test; in a published run it fell to 10^-34 and rose again to 10^-24.
Wealth that bets on green against the key's chance may be looked at after every batch: under H0 it ever exceeds 1/alpha
with probability at most alpha. S6 of the definitions.

References:
    Ville (1939); Ramdas et al. (2023), Statistical Science 38(4), section 3, for e-processes and mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.laws import law_of
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.windows import Codes, Texts, identities, select, windows_of

Floats = npt.NDArray[np.float64]

TILTS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Bets: by how much scores are expected to be tilted, each with the same share of the wealth."""


@dataclass(frozen=True, slots=True)
class Wealth:
    """What betting against H0 has earned so far; a new value after every batch.

    Attributes:
        scheme: The mark; its pairs are independent.
        key: The key.
        log_wealth: Of each bet, nats, shape (len(TILTS),).
        seen: Identities that were scored already, rising: they never count again.
        scored: Tokens that counted.
    """

    scheme: Scheme
    key: MarkKey
    log_wealth: Floats = field(default_factory=lambda: np.zeros(len(TILTS)))
    seen: Codes = field(default_factory=lambda: np.empty(0, np.uint64))
    scored: int = 0

    @property
    def log10_e(self) -> float:
        """log10 of the wealth; above log10(1/alpha) H0 may be rejected at alpha, whenever that happens."""
        return float(logsumexp(self.log_wealth) - np.log(len(TILTS))) / float(np.log(10.0))

    def after(self, texts: Texts, copied: Codes | None = None) -> Wealth:
        """Bet on one more batch of the suspect's texts.

        Args:
            texts: What it wrote.
            copied: What prompts hold, see `prompt_identities`.
        """
        windows = windows_of(texts, self.scheme.width, padded=False)
        identity = identities(windows, self.scheme.sources(windows), self.scheme.repeats)
        known = self.seen if copied is None else np.union1d(self.seen, copied)
        kept = select(windows, identity, subjects=1, copied=known).windows
        told = self.scheme.scores(self.key.words, kept) - self.scheme.mean
        told = told[~np.isnan(told)]
        cost, _, _ = law_of(self.scheme).cumulants(np.array(TILTS))
        earned = np.array(TILTS) * told.sum() - len(told) * cost
        return Wealth(
            self.scheme,
            self.key,
            self.log_wealth + earned,
            np.union1d(self.seen, identity),
            self.scored + len(told),
        )
