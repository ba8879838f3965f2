"""From a suspect's preferences to claims, and to the numbers of a case."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.detectors.interview import Continuation, log_likelihoods
from kdguard.detectors.twins.claims import (
    Rows,
    exact_p,
    leaker_named,
    preference_for_released,
    score,
    sites_leaf,
)
from kdguard.detectors.twins.planning import SCHEME, Plan
from kdguard.detectors.twins.preferences import as_integers
from kdguard.errors import TwinsError
from kdguard.evidence import Evidence
from kdguard.ledger import merkle
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.keys import Generation
from kdguard.stats.multiplicity import holm

Floats = npt.NDArray[np.float64]
Served = Mapping[str, Collection[str]]
"""Account -> the sites at which it was answered."""


def answer_likelihoods(plan: Plan, model: Any, tokenizer: Any) -> dict[str, tuple[float, float]]:
    """How likely a suspect finds both answers of every site, in nats; its weights are at hand."""
    rows = [
        Continuation(plan.prompts[site], "", answer) for site, pair in plan.answers.items() for answer in pair
    ]
    told = log_likelihoods(model, tokenizer, rows).reshape(-1, 2).tolist()
    return {site: (zero, one) for site, (zero, one) in zip(plan.answers, told, strict=True)}


def served_sites(plan: Plan, log: Iterable[tuple[str | None, str | None]]) -> dict[str, set[str]]:
    """At which sites each account was answered: others tell nothing of it, and their coins cannot know.

    Args:
        plan: The epoch.
        log: Account and prompt of each request that the gateway answered.

    Raises:
        TwinsError: No request of the log was a twin.
    """
    site_of = {(account, plan.prompts[site]): site for account, sites in plan.sites.items() for site in sites}
    found: dict[str, set[str]] = {account: set() for account in plan.sites}
    for account, prompt in log:
        site = site_of.get((account or "", prompt or ""))
        if site is not None:
            found[account or ""].add(site)
    if not any(found.values()):
        raise TwinsError(f"no request of the log was answered by a twin of epoch {plan.epoch}")
    return found


def name_leakers(
    plan: Plan,
    keys: Generation,
    preferences: Mapping[str, float],
    alpha: float,
    served: Served | None = None,
) -> tuple[Evidence, ...]:
    """Name every account whose released answers the suspect prefers, with family-wise error at most alpha.

    Args:
        plan: The epoch.
        keys: Of the plan's generation.
        preferences: Of the suspect, by site.
        alpha: Chance of naming any innocent account at all.
        served: From `served_sites`, where the gateway's log is at hand.

    Returns:
        Evidence as `twins.leaker` gives it, most surprising first.
    """
    accounts = list(plan.sites)
    p_values = account_p_values(plan, keys, preferences, served)
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    named = [accounts[place] for place in order.tolist() if adjusted[place] <= alpha]
    statistics = statistics_of(plan, preferences, named, served)
    return leaker_named(statistics, plan.parameters, _revealed(plan, keys, named)) if named else ()


def about_accounts(
    plan: Plan,
    keys: Generation,
    preferences: Mapping[str, float],
    accounts: Sequence[str],
    served: Served | None = None,
) -> tuple[Evidence, ...]:
    """Evidence that the suspect prefers what was released to accounts named beforehand, all taken together."""
    statistics = statistics_of(plan, preferences, accounts, served)
    return preference_for_released(statistics, plan.parameters, _revealed(plan, keys, accounts))


def account_p_values(
    plan: Plan, keys: Generation, preferences: Mapping[str, float], served: Served | None = None
) -> Floats:
    """Exact p-value of every account of the plan, in its order, unadjusted, shape (a,)."""
    secrets = _revealed(plan, keys, ["", *plan.sites])
    epoch_key = secrets[KeyName(SCHEME, "", plan.epoch)]
    colluders = int(plan.parameters["colluders"])
    p_values = np.ones(len(plan.sites))
    for place, account in enumerate(plan.sites):
        key = secrets[KeyName(SCHEME, account, plan.epoch)]
        p_values[place] = exact_p(
            *score(rows_of(plan, preferences, account, served), key, epoch_key, colluders)
        )
    return p_values


def key_names(plan: Plan, accounts: Sequence[str]) -> list[KeyName]:
    """Keys that a claim about accounts needs: biased coins need the epoch's own as well."""
    shared = [""] if plan.parameters["colluders"] > 1 else []
    return [KeyName(SCHEME, account, plan.epoch) for account in [*shared, *accounts]]


def rows_of(plan: Plan, preferences: Mapping[str, float], account: str, served: Served | None = None) -> Rows:
    """An account's rows (site id, integer preference)."""
    sites = plan.sites[account] if served is None else sorted(served[account])
    known = {site: preferences[site] for site in sites if site in preferences}
    return list(as_integers(known, plan.parameters["statistic"]).items())


def _revealed(plan: Plan, keys: Generation, accounts: Sequence[str]) -> dict[KeyName, bytes]:
    return {name: keys.derive(name).key.reveal() for name in key_names(plan, accounts)}


def statistics_of(
    plan: Plan, preferences: Mapping[str, float], accounts: Sequence[str], served: Served | None = None
) -> dict[str, Any]:
    """The numbers that the tests take, for some accounts.

    Raises:
        TwinsError: An account has no twins.
    """
    order = {account: place for place, account in enumerate(plan.sites)}
    missing = [account for account in accounts if account not in order]
    if missing:
        raise TwinsError(f"account {missing[0]!r} has no twins in epoch {plan.epoch}")
    leaves = [sites_leaf(account, list(ids)) for account, ids in plan.sites.items()]
    statistics: dict[str, Any] = {"preferences": {}, "sites": {}}
    for account in accounts:
        statistics["preferences"][account] = [
            list(row) for row in rows_of(plan, preferences, account, served)
        ]
        proof = merkle.inclusion_proof(leaves, order[account])
        statistics["sites"][account] = {
            "ids": list(plan.sites[account]),
            "index": order[account],
            "inclusion": [node.hex() for node in proof],
        }
    return statistics
