"""Accounts ranked by how much more a suspect likes what they were served than exchangeable answers that they were not.

For each account its texts are exchanged, within strata, with texts served to nobody; where there are none, with those
of the other accounts. If the suspect did not learn from the account, every way to deal the texts out was as likely, and
the test is exact. Holm's adjustment holds the chance of naming any innocent account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from kdguard.detectors.fingerprint.served.table import MEASURES, Served
from kdguard.evidence import Evidence, Guarantee
from kdguard.stats.multiplicity import holm

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAME, VERSION = "served.account", "1"
FEWEST_TEXTS = 10
_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How accounts are ranked.

    Attributes:
        seed: Of the ways to deal texts out.
        deals: Ways tried; the floor of p is 1 / (deals + 1).
        drawn: Chance decided beforehand what was served to whom; else the assumption that it might have is printed.
        alpha: Chance of naming any innocent account.
    """

    seed: int = 0
    deals: int = 9_999
    drawn: bool = False
    alpha: float = 0.01


@dataclass(frozen=True, slots=True)
class AccountFound:
    """One account.

    Attributes:
        account: Its name.
        evidence: With the p-value, unadjusted; None where too little was served.
        p_adjusted: Holm over all accounts that could be tested.
        effect: Mean surplus over what was not served to it, in the measure of the table.
        texts: Texts served to it that could be compared.
        against: Texts that they were compared with.
        withheld: Whether those were served to nobody.
        reason: Why there is no p-value, or what it means.
    """

    account: str
    evidence: Evidence | None
    p_adjusted: float | None
    effect: float
    texts: int
    against: int
    withheld: bool
    reason: str

    def to_json(self, suspect: str, alpha: float) -> dict[str, Any]:
        """One line of `kdguard lineage served --json`."""
        tested = self.evidence is not None
        return {
            "suspect": suspect,
            "account": self.account,
            "verdict": "inconclusive"
            if not tested
            else "supported"
            if (self.p_adjusted or 0) <= alpha
            else "not_supported",
            "reason": self.reason,
            "p_value": self.evidence.p_value if self.evidence else None,
            "p_adjusted": self.p_adjusted,
            "p_floor": self.evidence.p_floor if self.evidence else 1.0,
            "effect": round(self.effect, 6),
            "texts": self.texts,
            "against": self.against,
            "against_withheld": self.withheld,
            "guarantee": self.evidence.guarantee.value if self.evidence else None,
        }


def rank_accounts(served: Served, suspect: str, settings: Settings) -> tuple[AccountFound, ...]:
    """Test every account, most surprising first.

    Args:
        served: What was served, and the suspect's readings.
        suspect: Its name.
        settings: How.
    """
    rng = np.random.default_rng(settings.seed)
    found = [_account(served, at, suspect, settings, rng) for at in range(len(served.accounts))]
    tested = [one for one in found if one.evidence is not None and one.evidence.p_value is not None]
    adjusted = dict(
        zip(
            [one.account for one in tested],
            holm([one.evidence.p_value or 0.0 for one in tested if one.evidence]).tolist(),
            strict=True,
        )
    )
    told = [_told(one, adjusted.get(one.account), settings) for one in found]
    return tuple(sorted(told, key=lambda one: (one.p_adjusted is None, one.p_adjusted, -one.effect)))


def deal_p_value(
    scores: Floats, stratum: Ints, mine: npt.NDArray[np.bool_], deals: int, rng: np.random.Generator
) -> float:
    """Share of ways to deal texts out within strata, the real one included, that give an account at least as much.

    Args:
        scores: Of each text, shape (n,).
        stratum: Shape (n,).
        mine: Which were served to the account, shape (n,).
        deals: Random ways tried.
        rng: Source of them.
    """
    order = np.argsort(stratum, kind="stable")
    values, strata, own = scores[order], stratum[order], mine[order]
    first = np.searchsorted(strata, strata, side="left")
    wanted = np.bincount(strata, weights=own)[strata]
    takes = np.arange(len(values)) - first < wanted  # of each stratum the first places, in a random order
    observed, reached = float(values[own].sum()), 0
    for start in range(0, deals, _CHUNK):
        keys = rng.random((min(_CHUNK, deals - start), len(values)))
        dealt = values[np.argsort(strata + keys, axis=1)]
        reached += int((dealt[:, takes].sum(axis=1) >= observed - 1e-9).sum())
    return (1.0 + reached) / (deals + 1.0)


def _account(
    served: Served, at: int, suspect: str, settings: Settings, rng: np.random.Generator
) -> AccountFound:
    mine = served.account == at
    nobody = served.account < 0
    shared = np.isin(served.stratum, served.stratum[mine])
    withheld = int((nobody & shared).sum()) >= FEWEST_TEXTS
    others = (nobody if withheld else ~mine) & shared
    both = mine & np.isin(served.stratum, served.stratum[others])
    kept = both | others
    texts, against = int(both.sum()), int(others.sum())
    if min(texts, against) < FEWEST_TEXTS:
        reason = f"{texts} texts of the account and {against} exchangeable ones; a test needs {FEWEST_TEXTS} of each"
        return AccountFound(served.accounts[at], None, None, 0.0, texts, against, withheld, reason)
    scores = _normal_scores(served.surplus[kept])
    p_value = deal_p_value(scores, served.stratum[kept], both[kept], settings.deals, rng)
    effect = float(served.surplus[both].mean() - served.surplus[others].mean())
    evidence = Evidence(
        detector=NAME,
        version=VERSION,
        subject=suspect,
        guarantee=Guarantee.RANDOMISED if settings.drawn else Guarantee.INVARIANCE,
        score=round(effect, 6),
        p_value=p_value,
        p_floor=1.0 / (settings.deals + 1.0),
        n=texts,
        summary=(
            f"{texts} answers served to {served.accounts[at]} are {MEASURES[served.measure].format(effect)} than "
            f"{against} {'served to nobody' if withheld else 'of other accounts'}, beyond what {served.clean} clean "
            "models suggest"
        ),
    )
    return AccountFound(served.accounts[at], evidence, None, effect, texts, against, withheld, "")


def _told(one: AccountFound, p_adjusted: float | None, settings: Settings) -> AccountFound:
    if one.evidence is None or p_adjusted is None:
        return one
    assumed = (
        "which answers were served was drawn beforehand"
        if settings.drawn
        else "assumes that within a stratum any of the answers might as well have been served to the account"
    )
    return AccountFound(
        one.account, one.evidence, p_adjusted, one.effect, one.texts, one.against, one.withheld, assumed
    )


def _normal_scores(values: Floats) -> Floats:
    """Ranks as quantiles of a normal distribution, so that no single text decides."""
    return np.asarray(norm.ppf((rankdata(values) - 0.5) / len(values)), np.float64)
