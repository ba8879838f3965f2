"""What all owners of a world share: the calendar, the texts, the models on offer and public addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.simulate.grammar import Half, grammar, grammars
from kdguard.simulate.pools import Pools, wording
from kdguard.simulate.seeds import stream

HOUR = 3_600_000_000
"""Microseconds."""
DAY = 24 * HOUR
MODELS = ("atlas-large-2", "atlas-small-2", "atlas-mini-1", "atlas-code-2")
NEW_MODEL = "atlas-large-3"
LANGUAGE_SHARES = {
    "en": 0.58,
    "de": 0.07,
    "es": 0.07,
    "fr": 0.06,
    "pt": 0.04,
    "ru": 0.04,
    "zh": 0.06,
    "ja": 0.05,
    "ko": 0.03,
}
"""Share of owners whose own language this is; attackers draw from the same shares."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """The stage on which owners and campaigns act.

    Attributes:
        pools: Benign texts of the split.
        start: First microsecond of the world, UTC.
        days: Length in days.
        volume_median: Median requests of an account before the workload's own factor.
        volume_sigma: Spread of the log-normal volume.
        volume_cap: Largest number of requests of one account.
        release: Microsecond at which `NEW_MODEL` appears.
        exits: Addresses of public VPNs and cloud regions that unrelated owners share.
    """

    pools: Pools
    start: int
    days: int
    volume_median: float
    volume_sigma: float
    volume_cap: int
    release: int
    exits: tuple[str, ...]

    @property
    def end(self) -> int:
        """Microsecond after the last one of the world."""
        return self.start + self.days * DAY

    def volume(self, rng: np.random.Generator, factor: float, wanted: int | None) -> int:
        """Requests of one account: as wanted, else log-normal around the median times a factor."""
        if wanted is not None:
            return wanted
        drawn = rng.lognormal(np.log(self.volume_median * factor), self.volume_sigma)
        return int(np.clip(drawn, 1, self.volume_cap))

    def templates(self, symbol: str, n: int, rng: np.random.Generator, language: str = "en") -> list[str]:
        """`n` honest prompt templates; English where a language lacks the symbol."""
        return honest_templates(symbol, n, rng, language, wording(self.pools.split))


def honest_templates(symbol: str, n: int, rng: np.random.Generator, language: str, half: Half) -> list[str]:
    """`n` honest templates of one symbol, see `grammars/templates.toml`."""
    known = grammars("templates")
    spoken = language if language in known and symbol in known[language].rules else "en"
    return grammar("templates", spoken, half).expand(symbol, n, rng)


def draw_language(rng: np.random.Generator) -> str:
    """The language of an owner."""
    return pick(rng, tuple(LANGUAGE_SHARES), tuple(LANGUAGE_SHARES.values()))


def pick(rng: np.random.Generator, options: Sequence[str], weights: Sequence[float] | None = None) -> str:
    """One of the options, evenly or by weight."""
    if weights is None:
        return options[int(rng.integers(len(options)))]
    edges = np.cumsum(weights)
    return options[min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(options) - 1)]


def public_exits(seed: int, n: int = 400) -> tuple[str, ...]:
    """Addresses of VPN exits and cloud hosts, the same for all owners of a world."""
    rng = stream(seed, "exits")
    parts = rng.integers((3, 0, 0, 1), (224, 256, 256, 255), size=(n, 4)).tolist()
    return tuple(f"{a}.{b}.{c}.{d}" for a, b, c, d in parts)
