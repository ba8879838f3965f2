"""From a suspect's answers to claims: who was read out of them, and the case that proves it elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.detectors.canary.claims import account_named, committed_choices, contact
from kdguard.detectors.canary.likelihood import likely, needed_by, p_of_ranks, ranks_of
from kdguard.detectors.canary.planning import Plan, account_key
from kdguard.detectors.canary.scoring import draw
from kdguard.detectors.canary.sites import read_answers
from kdguard.errors import CanaryError
from kdguard.evidence import Evidence
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.keys import Generation
from kdguard.stats.multiplicity import holm

Floats = npt.NDArray[np.float64]
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Reading:
    """What a suspect's answers say, before any key is looked at.

    Attributes:
        statistics: As the tests take them, with every account's number of sites.
        answers: Answers that belong to a site of the epoch.
    """

    statistics: Mapping[str, Any]
    answers: int

    @property
    def by_likelihood(self) -> bool:
        """Likelihoods of replies were read, not answers."""
        return "likelihoods" in self.statistics


def read_suspect(
    plan: Plan, answers: Iterable[tuple[str, str]], clean: Iterable[tuple[str, str]] = ()
) -> Reading:
    """Read answers to an epoch's cues.

    Args:
        plan: The epoch.
        answers: Site id of the cue (anything else for a free prompt), and the suspect's answer.
        clean: The same of models that never saw a mark: their habits are taken off.

    Raises:
        CanaryError: No answer belongs to a site, and nothing could be read.
    """
    seen, asked = read_answers(plan.sites, answers)
    if not (asked or seen):
        raise CanaryError(
            f"no answer belongs to a site of epoch {plan.epoch}; answers need the cue's site_id"
        )
    statistics: dict[str, Any] = {
        "sites": [site.row for site in plan.sites],
        "seen": seen,
        "marked": dict(plan.marked),
    }
    habits, _ = read_answers(plan.sites, clean)
    if habits:
        statistics["habit"] = _shares(habits)
    return Reading(statistics, asked)


def read_likelihoods(
    plan: Plan,
    rows: Iterable[tuple[str, Sequence[int], float]],
    clean: Iterable[tuple[str, Sequence[int], float]] = (),
) -> Reading:
    """Read how likely a suspect finds replies.

    Args:
        plan: The epoch.
        rows: Site id, values of the reply's fields, log-likelihood in nats.
        clean: The same of a model that never saw a mark: taken off, which costs no validity.

    Raises:
        CanaryError: A log-likelihood is not finite, or no row belongs to a site.
    """
    usual = {(site, tuple(reply)): value for site, reply, value in clean}
    known = {site.site_id for site in plan.sites}
    told: dict[str, list[list[Any]]] = {}
    for site, reply, value in rows:
        if not math.isfinite(value):
            raise CanaryError(f"log-likelihoods of site {site} must be finite, got {value}")
        if site in known:
            row = [list(reply), value - usual.get((site, tuple(reply)), 0.0)]
            told.setdefault(site, []).append(row)
    if not told:
        raise CanaryError(f"no row belongs to a site of epoch {plan.epoch}; rows need the site_id")
    statistics = {
        "sites": [site.row for site in plan.sites],
        "likelihoods": told,
        "marked": dict(plan.marked),
    }
    return Reading(statistics, sum(map(len, told.values())))


def name_accounts(plan: Plan, keys: Generation, reading: Reading, alpha: float) -> tuple[Evidence, ...]:
    """Name every account whose score no unrelated key would reach, with family-wise error at most alpha.

    Args:
        plan: The epoch.
        keys: Of the plan's generation.
        reading: From `read_suspect`.
        alpha: Chance of naming any innocent account at all.

    Returns:
        Evidence as `canary.account` gives it, most surprising first.
    """
    accounts = list(plan.marked)
    p_values = account_p_values(plan, keys, reading)
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    named = [accounts[place] for place in order.tolist() if adjusted[place] <= alpha]
    return _run(likely if reading.by_likelihood else account_named, plan, keys, reading, named)


def about_accounts(
    plan: Plan, keys: Generation, reading: Reading, accounts: Sequence[str], *, alone: bool
) -> tuple[Evidence, ...]:
    """Evidence about given accounts: alone (contact, against decoys), or as names out of all accounts."""
    missing = [account for account in accounts if account not in plan.marked]
    if missing:
        raise CanaryError(f"account {missing[0]!r} is not marked in epoch {plan.epoch}")
    if reading.by_likelihood:
        return _run(likely, plan, keys, reading, accounts)
    return _run(contact if alone else account_named, plan, keys, reading, accounts)


def statistics_of(plan: Plan, keys: Generation, reading: Reading, accounts: Sequence[str]) -> dict[str, Any]:
    """The statistics for a case about some accounts only: it tells nothing of the others."""
    if reading.by_likelihood:
        return needed_by(reading.statistics, plan.parameters, _revealed(plan, keys, accounts))
    marked = reading.statistics["marked"]
    return {**reading.statistics, "marked": {account: marked[account] for account in accounts}}


def account_p_values(plan: Plan, keys: Generation, reading: Reading) -> Floats:
    """Exact p-value of every account of the plan, unadjusted, shape (a,)."""
    if reading.by_likelihood:
        ranked = ranks_of(reading.statistics, plan.parameters, _revealed(plan, keys, list(plan.marked)))
        return np.array([p_of_ranks(ranks) for ranks in ranked])
    choices = committed_choices(reading.statistics, plan.parameters)
    accounts = list(plan.marked.items())
    nulls = {count: choices.null(count) for count in set(plan.marked.values())}
    p_values = np.ones(len(accounts))
    for count, null in nulls.items():
        places = [place for place, (_, own) in enumerate(accounts) if own == count]
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            drawn = np.stack([
                draw(account_key(keys, accounts[place][0], plan.epoch).key.reveal(), choices.sizes)
                for place in some
            ])  # fmt: skip
            p_values[some] = null.p_values(choices.score_all(drawn, count))
    return p_values


def _run(
    test: Any, plan: Plan, keys: Generation, reading: Reading, accounts: Sequence[str]
) -> tuple[Evidence, ...]:
    told = statistics_of(plan, keys, reading, accounts)
    return test(told, plan.parameters, _revealed(plan, keys, accounts))


def _revealed(plan: Plan, keys: Generation, accounts: Sequence[str]) -> dict[KeyName, bytes]:
    derived = [account_key(keys, account, plan.epoch) for account in accounts]
    return {key.name: key.key.reveal() for key in derived}


def _shares(rows: Sequence[Sequence[int]]) -> list[list[float]]:
    totals: dict[int, int] = {}
    for choice, _, count in rows:
        totals[choice] = totals.get(choice, 0) + count
    return [[choice, value, round(count / totals[choice], 6)] for choice, value, count in rows]
