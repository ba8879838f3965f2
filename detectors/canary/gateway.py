"""The filter that a gateway calls between model and customer: a response in, the same or a marked response out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kdguard.detectors.canary.forms import Insertion
from kdguard.detectors.canary.planning import Plan, account_key
from kdguard.detectors.canary.scoring import draw
from kdguard.detectors.canary.sites import Site, flat_sizes
from kdguard.errors import CanaryError
from kdguard.ledger.draws import chance
from kdguard.ledger.keys import Generation
from kdguard.ledger.secret import Secret


@dataclass(frozen=True, slots=True)
class Tally:
    """What a gateway remembers of an account between requests; it starts empty with every epoch.

    Attributes:
        responses: Served so far.
        insertions: Written so far, by site id.
    """

    responses: int = 0
    insertions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """One response after the filter.

    Attributes:
        response: What to serve.
        site_id: The insertion it carries, or None.
        tally: To remember.
    """

    response: str
    site_id: str | None
    tally: Tally


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """The filter of one account for one epoch.

    Attributes:
        plan: The epoch.
        sites: Sites that the account gets.
        replies: What its key drew at each.
        coin: Key of the coins that spread the marks.
    """

    plan: Plan
    sites: tuple[Site, ...]
    replies: tuple[tuple[int, ...], ...] = field(repr=False)
    coin: Secret

    def place(self, tally: Tally, request_id: str, prompt: str, response: str) -> Placed:
        """Mark one response, or leave it.

        Insertions never exceed the plan's share of the responses served so far, nor its number, nor its repetitions.
        Neither coin nor budget depends on what was drawn, so a reply's place tells nothing of it.
        """
        served = tally.responses + 1
        text = self._rewritten(request_id, prompt, response)
        marked = self._inserted(tally, served, request_id, prompt, text)
        if marked is None:
            return Placed(text, None, Tally(served, tally.insertions))
        site, text = marked
        times = tally.insertions.get(site.site_id, 0) + 1
        return Placed(text, site.site_id, Tally(served, {**tally.insertions, site.site_id: times}))

    def _inserted(
        self, tally: Tally, served: int, request_id: str, prompt: str, text: str
    ) -> tuple[Site, str] | None:
        budget, written = self.plan.budget, sum(tally.insertions.values())
        within = written + 1 <= min(budget.share * served, budget.most)
        # Half of the free places are passed over, so that marks do not stand at even distances.
        if not within or chance(self.coin.reveal(), "insert", request_id) < 0.5:
            return None
        for site, reply in zip(self.sites, self.replies, strict=True):
            free = tally.insertions.get(site.site_id, 0) < budget.repetitions
            marked = site.mark(prompt, text, reply) if free and isinstance(site.form, Insertion) else None
            if marked is not None:
                return site, marked
        return None

    def _rewritten(self, request_id: str, prompt: str, response: str) -> str:
        if chance(self.coin.reveal(), "rewrite", request_id) >= self.plan.budget.rewrite_share:
            return response
        text = response
        for site, reply in zip(self.sites, self.replies, strict=True):
            if not isinstance(site.form, Insertion):
                text = site.mark(prompt, text, reply) or text
        return text


def account_filter(plan: Plan, keys: Generation, account: str) -> AccountFilter:
    """Make the filter of one account.

    Raises:
        CanaryError: The plan does not mark the account, or the keys are of another generation.
    """
    if account not in plan.marked:
        raise CanaryError(
            f"account {account!r} is not marked in epoch {plan.epoch}; plan it, or serve it unmarked"
        )
    if keys.number != plan.generation:
        raise CanaryError(f"keys must be of generation {plan.generation}, got {keys.number}")
    derived = account_key(keys, account, plan.epoch)
    drawn = draw(derived.key.reveal(), flat_sizes(plan.sites))
    cuts = np.cumsum([len(site.sizes) for site in plan.sites])[:-1]
    replies: list[Any] = [tuple(part.tolist()) for part in np.split(drawn, cuts)]
    count = plan.marked[account]
    return AccountFilter(plan, plan.sites[:count], tuple(replies[:count]), derived.salt)
