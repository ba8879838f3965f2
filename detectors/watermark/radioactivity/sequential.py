"""Radioactivity with a stop at any time: an e-process over a suspect's answers, batch by batch.

Watching a p-value until it is small is not a test; in a published run it fell to 10^-34 and rose again to 10^-24.
Wealth that bets on green against the key's chance may be looked at after every batch: under H0 it ever exceeds 1/alpha
with probability at most alpha. S6 of the definitions.

References:
    Ville (1939); Ramdas et al. (2023), Statistical Science 38(4), section 3, for e-processes and mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.laws import law_of
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.verdict import (
    MEANING,
    VERSION,
    abstention,
    check_key,
    parameters_digest,
    titled,
)
from kdguard.detectors.watermark.windows import (
    Codes,
    Texts,
    Windows,
    identities,
    select,
    windows_of,
)
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention, Evidence, Guarantee

Floats = npt.NDArray[np.float64]

KIND: Final = "watermark.wealth"
TILTS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Bets: by how much scores are expected to be tilted, each with the same share of the wealth."""
_LN10: Final = float(np.log(10.0))
_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class Wealth:
    """What betting against H0 has earned so far; a new value after every batch.

    Attributes:
        scheme: The mark; its pairs are independent.
        key: The key.
        log_wealth: Of each bet, nats, shape (len(TILTS),).
        seen: Identities that were scored already, rising: they never count again.
        scored: Tokens that counted.
        batches: Bets so far.
        most_log10_e: The largest wealth so far.
    """

    scheme: Scheme
    key: MarkKey
    log_wealth: Floats = field(default_factory=lambda: np.zeros(len(TILTS)))
    seen: Codes = field(default_factory=lambda: np.empty(0, np.uint64))
    scored: int = 0
    batches: int = 0
    most_log10_e: float = 0.0

    @property
    def log10_e(self) -> float:
        """log10 of the wealth; above log10(1/alpha) H0 may be rejected at alpha, whenever that happens."""
        return _log10_mean(self.log_wealth)

    def proven(self, alpha: float) -> bool:
        """Whether H0 may be rejected at a level, over all accounts together, now or at an earlier look."""
        return self.most_log10_e >= np.log10(self.key.among / alpha) if alpha > 0 else False

    def fresh(self, texts: Texts, copied: Codes | None = None) -> tuple[Windows, Codes]:
        """What of a batch may be scored: nothing that came before, nothing that prompts hold; and all its identities.

        Args:
            texts: What the suspect wrote.
            copied: What prompts hold, see `prompt_identities`.
        """
        windows = windows_of(texts, self.scheme.width, padded=False)
        identity = identities(windows, self.scheme.sources(windows), self.scheme.repeats)
        known = self.seen if copied is None else np.union1d(self.seen, copied)
        return select(windows, identity, subjects=1, copied=known).windows, identity

    def after(self, texts: Texts, copied: Codes | None = None) -> Wealth:
        """Bet on one more batch of the suspect's texts. Arguments as for `fresh`."""
        windows, identity = self.fresh(texts, copied)
        return replace(self._paid(windows), seen=np.union1d(self.seen, identity))

    def bet(self, windows: Windows) -> Wealth:
        """Bet on windows that were chosen by `fresh` before.

        Raises:
            WatermarkError: Some were scored already.
        """
        identity = identities(windows, self.scheme.sources(windows), self.scheme.repeats)
        if len(np.unique(identity)) < len(identity) or np.isin(identity, self.seen).any():
            raise WatermarkError("what was scored in an earlier batch must not be scored again")
        return replace(self._paid(windows), seen=np.union1d(self.seen, identity))

    def _paid(self, windows: Windows) -> Wealth:
        told = self.scheme.scores(self.key.words, windows) - self.scheme.mean
        told = told[~np.isnan(told)]
        cost, _, _ = law_of(self.scheme).cumulants(np.array(TILTS))
        earned = self.log_wealth + np.array(TILTS) * told.sum() - len(told) * cost
        return replace(
            self,
            log_wealth=earned,
            scored=self.scored + len(told),
            batches=self.batches + 1,
            most_log10_e=max(self.most_log10_e, _log10_mean(earned)),
        )


def wealth_evidence(state: Wealth, subject: str, *, committed: bool) -> Evidence | Abstention:
    """What the bets say: p = 1 / the largest wealth, by Ville's inequality valid whenever one stopped.

    Where accounts have keys of their own, p is that of any of them (Bonferroni).
    """
    check_key(state.scheme, state.key)
    if not state.scored:
        return abstention(
            KIND, state.scheme, state.key, subject, "no token could be scored: give longer texts"
        )
    most = round(max(state.most_log10_e, 0.0), _DIGITS)
    return Evidence(
        detector=f"{KIND}.{state.scheme.name}",
        version=VERSION,
        subject=titled(subject, state.key.account, state.key.among),
        guarantee=Guarantee.RANDOMISED if committed else Guarantee.DESCRIPTIVE,
        score=most,
        p_value=min(1.0, state.key.among * float(10.0**-most)),
        log10_e=round(state.log10_e, _DIGITS),
        p_floor=0.0,
        n=state.scored,
        summary=(
            f"{state.scored} tokens in {state.batches} batches, wealth 10^{state.log10_e:.2f}, at most 10^{most:.2f} "
            f"on the way. {MEANING}"
        ),
        parameters_digest=parameters_digest(state.scheme),
    )


def _log10_mean(log_wealth: Floats) -> float:
    return float(logsumexp(log_wealth) - np.log(len(TILTS))) / _LN10
