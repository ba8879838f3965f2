"""Workloads of products: one template round the clock, migrations without ramp, gateways, resellers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdguard.simulate.activity import Account, activity
from kdguard.simulate.identity import Identity, Shape, draw_identity
from kdguard.simulate.setting import DAY, Floats, Setting, draw_language
from kdguard.simulate.tempo import Tempo, conversations, lifetime, round_the_clock, working_week
from kdguard.simulate.workloads import habits

PRODUCT = Shape("product", addresses=3.0, organised=0.75)
GATEWAY = Shape("gateway", addresses=4.0, organised=0.8, stripped=0.6)
RESELLER = Shape("gateway", addresses=8.0, organised=0.5, stripped=0.2)
_INPUTS = ("email", "review", "document", "question", "chat", "utterance", "instruct", "math", "code")


def product(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """A product with one purpose: one to three templates of its own, slots filled by its end users."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, PRODUCT, language)
    n = setting.volume(rng, 2.5, wanted)
    span = lifetime(rng, setting.start, setting.days)
    return (templated(setting, rng, identity, language, n, _even(rng, n, span)),)


def templated(
    setting: Setting, rng: np.random.Generator, identity: Identity, language: str, n: int, tempo: Tempo
) -> Account:
    """A templated product on a given tempo; half of the products put the template in the system prompt."""
    kind = _INPUTS[int(rng.integers(len(_INPUTS)))]
    inputs = setting.pools.draw(kind, n, rng, language, habits.topics(rng, n))
    wrapped = rng.random() < 0.6
    prompts = (
        habits.script(rng, setting, "product", language, inputs, int(rng.integers(1, 4)))
        if wrapped
        else inputs
    )
    parameters = habits.call(
        rng,
        system=habits.system_prompt(rng, setting, language, 0.4 if wrapped else 1.0),
        sessions=0.3,
        effort=float(rng.uniform(40, 400)),
    )
    return Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language)


def migration(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """A product that moves here from another provider: full volume from the first day."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, PRODUCT, language)
    day = rng.uniform(0, setting.days * 0.7)
    first = setting.start + int(day * DAY)
    identity = replace(identity, created_at=first - int(rng.uniform(0.02, 2) * DAY))
    n = setting.volume(rng, 3.0, wanted)
    return (templated(setting, rng, identity, language, n, _even(rng, n, (first, setting.end))),)


def _even(rng: np.random.Generator, n: int, span: tuple[int, int]) -> Tempo:
    week: Floats = round_the_clock(rng) if rng.random() < 0.7 else working_week(rng, night=0.2)
    return conversations(rng, n, span, week, turns=1 + rng.exponential(0.6), gap_s=float(rng.uniform(1, 60)))


def gateway(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """A gateway with many honest end users of all kinds; client metadata is mostly stripped."""
    return (_many_users(setting, rng, GATEWAY, wanted),)


def reseller(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """A reseller with honest customers: several accounts, one card, customers spread over them."""
    first = _many_users(setting, rng, RESELLER, wanted)
    count = accounts or int(rng.integers(1, 6))
    others = [_many_users(setting, rng, RESELLER, wanted) for _ in range(count - 1)]
    return (first, *(replace(a, identity=_same_owner(a.identity, first.identity)) for a in others))


def _same_owner(own: Identity, first: Identity) -> Identity:
    return replace(own, org_id=first.org_id, payment_hash=first.payment_hash, email_domain=first.email_domain)


def _many_users(setting: Setting, rng: np.random.Generator, shape: Shape, wanted: int | None) -> Account:
    language = draw_language(rng)
    identity = draw_identity(rng, setting, shape, language)
    n = setting.volume(rng, 4.0, wanted)
    span = lifetime(rng, setting.start, setting.days)
    tempo = conversations(
        rng, n, span, round_the_clock(rng), turns=1 + rng.exponential(2), gap_s=float(rng.uniform(10, 120))
    )
    kinds = ("chat", "question", "code", "instruct", "email", "translation", "tool_use", "roleplay", "math")
    prompts = habits.mixed(rng, setting, kinds, n, language, 2.0)
    for symbol, share in (("ordinary", 0.1), ("product", 0.15), ("evaluation", 0.03), ("judge", 0.02)):
        places = np.flatnonzero(rng.random(n) < rng.beta(1, 1 / share)).tolist()
        if places:
            texts = [prompts[i] for i in places]
            own = habits.script(rng, setting, symbol, language, texts, int(rng.integers(2, 12)))
            for place, text in zip(places, own, strict=True):
                prompts[place] = text
    systems: list[str | None] = [None, *setting.templates("system", 6, rng, language)]
    picks = rng.integers(len(systems), size=int(tempo.session.max()) + 1)[tempo.session].tolist()
    parameters = habits.call(rng, sessions=0.4, tools=rng.random() < 0.2)
    asked = activity(
        rng, setting, identity, tempo, prompts, parameters, systems=[systems[pick] for pick in picks]
    )
    return Account(identity, asked, language)
