"""What may be claimed from twins: that a suspect learnt from released answers, and from whose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from kdguard.detectors.twins.coins import bias, colluders_supported, released
from kdguard.errors import TwinsError
from kdguard.evidence import Evidence, Guarantee
from kdguard.ledger import merkle
from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.derivation import KeyName
from kdguard.stats.multiplicity import holm
from kdguard.stats.sums import P_FLOOR, SumNull, Term, sum_null

Rows = Sequence[tuple[str, int]]
"""Site ids, each with an integer preference: positive for answer 1."""

GRID = 8
"""Scores on biased coins are integers in eighths."""
LARGEST_SPAN = 4_000_000
"""Range of a sum that is still convolved."""


def preference_for_released(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Test whether a suspect prefers the answers that were released to some accounts, all taken together.

    Exact: given the preferences, every coin is independent of them unless the suspect learnt from what it released.

    Args:
        statistics: `preferences`: account -> rows (site id, integer), positive for answer 1; `sites`: account -> ids as
            committed, with the place and proof of that commitment; see `suspects.statistics_of`.
        parameters: As committed: `accounts`, `colluders`, `sites_root`.
        keys: Of the accounts; with `colluders` > 1 also the epoch's own key, of account "".
    """
    accounts = [name.account for name in keys if name.account]
    scored = [_scored(account, statistics, parameters, keys) for account in accounts]
    p_value = exact_p(sum(own for own, _ in scored), [term for _, terms in scored for term in terms])
    subject = accounts[0] if len(accounts) == 1 else f"{len(accounts)} accounts"
    return (_evidence("twins.released", subject, accounts, statistics, parameters, p_value, p_value),)


def leaker_named(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Name accounts whose released answers a suspect prefers, Holm-adjusted over all accounts with twins.

    Arguments as for `preference_for_released`. On biased coins the score is the symmetric one of Skoric et al. (2008).
    """
    accounts = [name.account for name in keys if name.account]
    raw = [exact_p(*_scored(account, statistics, parameters, keys)) for account in accounts]
    adjusted = holm(raw, int(parameters["accounts"]))
    return tuple(
        _evidence("twins.leaker", account, [account], statistics, parameters, p, float(q))
        for account, p, q in zip(accounts, raw, adjusted, strict=True)
    )


def sites_leaf(account: str, sites: list[str]) -> bytes:
    """Leaf under which an account's sites are committed: they cannot be chosen after a suspect was asked."""
    return merkle.leaf_hash(canonical([account, sites]))


def score(rows: Rows, account_key: bytes, epoch_key: bytes, colluders: int) -> tuple[int, list[Term]]:
    """Score of an account's coins against a suspect's preferences, and the terms of its null."""
    total, terms = 0, []
    for site, preference in rows:
        chance = bias(epoch_key, site, colluders)
        values = _values(preference, chance)
        total += values[released(account_key, site, chance)]
        # A fair coin does not tell the signs apart, so accounts with the same ranks share one null.
        terms.append(Term(tuple(sorted(values)) if chance == 0.5 else values, (1 - chance, chance)))
    return total, terms


def exact_p(observed: int, terms: Sequence[Term]) -> float:
    """Chance of a score at least as large.

    Raises:
        TwinsError: The sum ranges too far to be convolved.
    """
    span = sum(max(term.values) - min(term.values) for term in terms)
    if span > LARGEST_SPAN:
        raise TwinsError(
            f"the score ranges over {span:,} values, at most {LARGEST_SPAN:,} can be convolved; take fewer accounts "
            "together, or plan with the statistic 'sign'"
        )
    ordered = tuple(sorted(terms, key=lambda term: (term.chances, term.values)))
    return float(_null(ordered).p_values([observed])[0])


def _scored(
    account: str, statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[int, list[Term]]:
    named = {name.account: key for name, key in keys.items()}
    colluders = int(parameters["colluders"])
    if colluders > 1 and "" not in named:
        raise TwinsError("biased coins need the epoch's own key beside those of the accounts")
    _check_sites(account, statistics, parameters)
    rows = [(str(site), int(number)) for site, number in statistics["preferences"][account]]
    return score(rows, named[account], named.get("", b""), colluders)


def _values(preference: int, chance: float) -> tuple[int, int]:
    """Scores if answer 0, or answer 1, was released; of mean 0 before rounding."""
    if chance == 0.5:
        return -preference, preference
    odds = math.sqrt((1 - chance) / chance)
    return round(-GRID * preference / odds), round(GRID * preference * odds)


@lru_cache(maxsize=64)
def _null(terms: tuple[Term, ...]) -> SumNull:
    return sum_null(terms)


def _check_sites(account: str, statistics: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    told = statistics["sites"][account]
    proof = [bytes.fromhex(node) for node in told["inclusion"]]
    root = bytes.fromhex(parameters["sites_root"])
    leaf = sites_leaf(account, told["ids"])
    if not merkle.verify_inclusion(leaf, told["index"], int(parameters["accounts"]), proof, root):
        raise TwinsError(f"the sites of account {account!r} are not those that were committed to")
    used = [row[0] for row in statistics["preferences"][account]]
    if len(set(used)) != len(used) or not set(used) <= set(told["ids"]):
        raise TwinsError(
            f"preferences of account {account!r} must be one row for each of its committed sites"
        )


def _evidence(
    detector: str,
    subject: str,
    accounts: list[str],
    statistics: Mapping[str, Any],
    parameters: Mapping[str, Any],
    raw: float,
    adjusted: float,
) -> Evidence:
    answered = sum(len(statistics["preferences"][account]) for account in accounts)
    committed = sum(len(statistics["sites"][account]["ids"]) for account in accounts)
    text = f"{answered} of {committed} sites tell the answers apart: p = {raw:.3g}"
    if detector == "twins.leaker":
        fair = parameters["colluders"] == 1
        most = colluders_supported(committed, int(parameters["accounts"]), fair=fair)
        supports = "too few to count on it" if most == 0 else f"enough for {most} acting together"
        text += f" alone, {adjusted:.3g} among {parameters['accounts']:,} accounts; {committed} sites are {supports}"
    return Evidence(
        detector=detector,
        version="1",
        subject=subject,
        guarantee=Guarantee.RANDOMISED,
        score=-math.log2(raw),
        p_value=adjusted,
        p_floor=P_FLOOR,
        n=answered,
        summary=text,
        parameters_digest=sha256(canonical(dict(parameters))),
    )
