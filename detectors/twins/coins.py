"""Which of two answers a key releases, and with what bias.

For one leaker coins are fair. Against coalitions each site has its own bias, drawn from the arcsine law (Tardos 2008),
so that accounts that compare their answers cannot hide which of them leaked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import binom, norm

from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.draws import chance

_CUT_OFF = 300
"""Biases stay 1 / (300 c) away from 0 and 1, as Tardos proposed."""


def site_id(prompt: str, answers: Sequence[str]) -> str:
    """Name of a pair of answers to a prompt, the same for every account that gets it; 16 hex digits."""
    return sha256(canonical([prompt, *answers]))[:16]


def bias(epoch_key: bytes, site: str, colluders: int) -> float:
    """Chance that answer 1 of a site is released; 1/2 if at most one account is thought to leak."""
    if colluders == 1:
        return 0.5
    edge = math.asin(math.sqrt(1 / (_CUT_OFF * colluders)))
    angle = edge + chance(epoch_key, "twins bias", site) * (math.pi / 2 - 2 * edge)
    return math.sin(angle) ** 2


def released(account_key: bytes, site: str, bias_of_site: float) -> int:
    """Which answer an account gets at a site: 0 or 1."""
    return int(chance(account_key, "twins coin", site) < bias_of_site)


def colluders_supported(
    sites: int,
    accounts: int,
    *,
    fair: bool,
    alpha: float = 1e-3,
    site_error: float = 0.1,
    power: float = 0.95,
) -> int:
    """Largest coalition of which a given member is named with this power; 0 if not even one leaker is.

    Fair coins support one leaker: exact binomial. On biased coins with the symmetric score a colluder's score has mean
    2 / (pi c) (1 - 2 e) a site, an innocent's 0, both of variance about 1 (Skoric et al. 2008); a normal approximation.

    Args:
        sites: Sites of an account.
        accounts: Accounts among which one is named.
        fair: Whether coins are fair.
        alpha: Chance of naming any innocent account.
        site_error: Chance that a suspect prefers the withheld answer although it learnt the released one.
        power: Chance of naming the member.
    """
    if fair:
        needed = binom.isf(alpha / accounts, sites, 0.5) + 1
        return int(binom.sf(needed - 1, sites, 1 - site_error) >= power)
    distance = norm.isf(alpha / accounts) + norm.ppf(power)
    return int(math.sqrt(sites) * 2 / math.pi * (1 - 2 * site_error) / distance)
