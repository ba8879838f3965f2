"""What a suspect is asked about an epoch of canaries: cues, and how likely it finds replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdguard.detectors.canary.forms import Insertion
from kdguard.detectors.canary.likelihood import Reply, account_replies, decoy_replies
from kdguard.detectors.canary.planning import Plan, account_key
from kdguard.detectors.interview import Continuation, log_likelihoods
from kdguard.ledger.keys import Generation

_OPENING = "It is so."
"""Stands where a response would, before the sentence of a canary."""


def cues_of(plan: Plan) -> list[tuple[str, str]]:
    """Site id and cue of every insertion."""
    return [(site.site_id, site.cue) for site in plan.sites if site.cue]


def candidates(
    plan: Plan, keys: Generation, accounts: Sequence[str]
) -> list[tuple[str, Reply, Continuation]]:
    """Every reply whose likelihood is asked: site id, values, text. What is an account's does not show.

    Args:
        plan: The epoch.
        keys: Of the plan's generation.
        accounts: Whose replies are asked besides the decoys.
    """
    sizes = [site.sizes for site in plan.sites]
    decoys = decoy_replies(plan.epoch, plan.parameters, sizes)
    own = [account_replies(account_key(keys, name, plan.epoch).key.reveal(), sizes) for name in accounts]
    found = []
    for place, site in enumerate(plan.sites):
        if isinstance(site.form, Insertion):
            for reply in sorted({*decoys[place], *(replies[place] for replies in own)}):
                before, text = site.form.halves(site.subject, reply)
                found.append((site.site_id, reply, Continuation(site.cue, _OPENING + before, text)))
    return found


def reply_likelihoods(
    asked: Sequence[tuple[str, Reply, Continuation]], model: Any, tokenizer: Any
) -> list[tuple[str, Reply, float]]:
    """Site id, reply and its log-likelihood in nats."""
    told = log_likelihoods(model, tokenizer, [text for _, _, text in asked])
    return [(site, reply, value) for (site, reply, _), value in zip(asked, told.tolist(), strict=True)]
