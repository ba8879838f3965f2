"""Campaigns: benign account skeletons whose prompts at chosen places are those of an operator's script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from kdguard.errors import WorldError
from kdguard.simulate import tactics as moves
from kdguard.simulate.activity import Account
from kdguard.simulate.grammar import Half
from kdguard.simulate.operator import Operator, draw_operator
from kdguard.simulate.seeds import stream
from kdguard.simulate.setting import Setting, pick
from kdguard.simulate.techniques import check_technique
from kdguard.simulate.workloads import PERMITTED, WORKLOADS


@dataclass(frozen=True)
class Tactics:
    """How a campaign hides or is organised; every strength is from 0 (off) to 1.

    Attributes:
        paraphrase: Share of the attack requests in a wording of their own.
        jitter: Noise on the times of attack requests, up to hours at 1.
        warm_up: Share of an account's requests that stay benign at the start.
        shared_cards: Share of the accounts that pay with cards shared by groups.
        shared_addresses: Share of the accounts that use addresses shared by groups.
        shards: Above 0, one task list is cut into disjoint shards, one an account.
        succession: Share of the accounts that replace, or are replaced by, another after a ban.
        synchrony: Share of the attack requests sent in bursts common to all accounts.
        pivot: Share of the attack requests that go to a new model at once after its release.
        logprobs: Share of the attack requests that ask for log-probabilities.
    """

    paraphrase: float = 0.0
    jitter: float = 0.0
    warm_up: float = 0.0
    shared_cards: float = 0.0
    shared_addresses: float = 0.0
    shards: float = 0.0
    succession: float = 0.0
    synchrony: float = 0.0
    pivot: float = 0.0
    logprobs: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 <= getattr(self, item.name) <= 1:
                raise WorldError(f"tactic '{item.name}' must be from 0 to 1, got {getattr(self, item.name)}")

    def __str__(self) -> str:
        used = [(item.name, getattr(self, item.name)) for item in fields(self)]
        return ",".join(f"{name}={strength:g}" for name, strength in used if strength)


@dataclass(frozen=True)
class Campaign:
    """One operator's extraction campaign.

    Attributes:
        technique: One of `kdguard.simulate.techniques.TECHNIQUES`.
        name: Names the random stream and, hashed, the campaign id.
        accounts: Accounts it runs over.
        requests: Requests of each account, attack or not; None draws them like a benign account's.
        mix: Share of an account's requests that are attack.
        language: Language of the wording; None draws one for the operator.
        tactics: How it hides.
    """

    technique: str
    name: str = "campaign"
    accounts: int = 10
    requests: int | None = None
    mix: float = 1.0
    language: str | None = None
    tactics: Tactics = field(default_factory=Tactics)

    def __post_init__(self) -> None:
        check_technique(self.technique)
        if self.accounts < 1 or (self.requests is not None and self.requests < 1) or not 0 < self.mix <= 1:
            raise WorldError(
                f"campaign '{self.name}': accounts and requests must be at least 1, mix in (0, 1]"
            )


def campaign_accounts(
    setting: Setting, campaign: Campaign, seed: int, shares: Sequence[tuple[str, float]]
) -> tuple[tuple[str, Account], ...]:
    """The accounts of a campaign, each with the workload that it hides in.

    Args:
        setting: The world.
        campaign: What to run.
        seed: Seed of the world.
        shares: Workload shares of the world; skeletons are drawn from them.
    """
    rng = stream(seed, "operator", campaign.name)
    half: Half = "test" if setting.pools.split == "test" else "fit"
    operator = draw_operator(rng, setting, campaign.technique, campaign.language, half)
    rhythm = moves.draw_rhythm(rng, setting, campaign.accounts)
    hidden = [(name, share) for name, share in shares if name not in PERMITTED and share > 0]
    found = []
    for i in range(campaign.accounts):
        own = stream(seed, "campaign", campaign.name, str(i))
        workload = pick(own, [name for name, _ in hidden], [share for _, share in hidden])
        skeleton = WORKLOADS[workload](setting, own, campaign.requests, 1)[0]
        found.append((workload, _attacker(setting, campaign, operator, rhythm, skeleton, own, i)))
    accounts = moves.share_cards([a for _, a in found], campaign.tactics.shared_cards, rng)
    accounts = moves.share_addresses(accounts, campaign.tactics.shared_addresses, rng)
    accounts = moves.succeed(accounts, campaign.tactics.succession, rng, setting)
    return tuple(zip([workload for workload, _ in found], accounts, strict=True))


def _attacker(
    setting: Setting,
    campaign: Campaign,
    operator: Operator,
    rhythm: moves.Rhythm,
    skeleton: Account,
    rng: np.random.Generator,
    index: int,
) -> Account:
    tactics = campaign.tactics
    places = moves.places(rng, len(skeleton.activity), campaign.mix, tactics.warm_up)
    shard = (index, campaign.accounts) if tactics.shards else None
    changed = operator.act(setting, rng, skeleton.activity, places, tactics.paraphrase, shard)
    logprobs = 1.0 if campaign.technique == "logprob_harvest" else tactics.logprobs
    changed = moves.ask_logprobs(changed, logprobs, rng)
    changed = moves.pivot(changed, tactics.pivot, rng, setting)
    changed = moves.synchronise(changed, tactics.synchrony, tactics.jitter, rhythm, rng)
    return replace(skeleton, activity=changed, language=operator.script.language)
