"""Workloads of people: interactive users, offices behind one address and one card, university labs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdguard.simulate.activity import Account, activity
from kdguard.simulate.identity import Identity, Shape, draw_identity
from kdguard.simulate.setting import Setting, draw_language
from kdguard.simulate.tempo import conversations, lifetime, working_week
from kdguard.simulate.workloads import habits

INTERACTIVE = Shape("chat", addresses=2.5, organised=0.3)
OFFICE = Shape("chat", addresses=1.0, organised=0.9)
LAB = Shape("evaluation", addresses=2.0, organised=0.8)
_KINDS = ("chat", "chat", "question", "code", "translation", "email", "instruct", "roleplay", "math")


def interactive(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """One person in a chat window: several turns a session, waking hours, few topics."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, INTERACTIVE, language)
    return (person(setting, rng, identity, language, wanted, 0.8),)


def person(
    setting: Setting,
    rng: np.random.Generator,
    identity: Identity,
    language: str,
    wanted: int | None,
    factor: float,
) -> Account:
    """The requests of one person; about one in ten prompts is an ordinary look-alike of extraction."""
    n = setting.volume(rng, factor, wanted)
    span = lifetime(rng, setting.start, setting.days)
    tempo = conversations(
        rng, n, span, working_week(rng), turns=1 + rng.exponential(4), gap_s=float(rng.uniform(20, 180))
    )
    prompts = habits.mixed(rng, setting, _KINDS, n, language)
    odd = np.flatnonzero(rng.random(n) < rng.beta(1, 8)).tolist()
    if odd:
        own = habits.script(
            rng, setting, "ordinary", language, [prompts[i] for i in odd], int(rng.integers(1, 9))
        )
        for place, text in zip(odd, own, strict=True):
            prompts[place] = text
    parameters = habits.call(
        rng,
        system=habits.system_prompt(rng, setting, language, 0.35),
        sessions=0.85,
        tools=rng.random() < 0.1,
    )
    return Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language)


def office(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Several colleagues behind one address, one card and one organisation."""
    language = draw_language(rng)
    first = draw_identity(rng, setting, OFFICE, language)
    people = [
        first,
        *_colleagues(rng, setting, first, OFFICE, language, accounts or int(rng.integers(3, 16))),
    ]
    return tuple(person(setting, rng, one, language, wanted, 0.6) for one in people)


def _colleagues(
    rng: np.random.Generator, setting: Setting, first: Identity, shape: Shape, language: str, accounts: int
) -> list[Identity]:
    shared_clients = shape is OFFICE
    found = []
    for _ in range(accounts - 1):
        own = draw_identity(rng, setting, shape, language)
        found.append(
            replace(
                own,
                org_id=first.org_id,
                email_domain=first.email_domain,
                payment_hash=first.payment_hash,
                country=first.country,
                plan=first.plan,
                clients=first.clients if shared_clients else own.clients,
            )
        )
    return found


def university_lab(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Students of one lab: experiments with step-by-step prompts, model comparisons, ordinary chat."""
    language = draw_language(rng)
    first = draw_identity(rng, setting, LAB, language)
    people = [first, *_colleagues(rng, setting, first, LAB, language, accounts or int(rng.integers(2, 9)))]
    return tuple(_student(setting, rng, one, language, wanted) for one in people)


def _student(
    setting: Setting, rng: np.random.Generator, identity: Identity, language: str, wanted: int | None
) -> Account:
    if rng.random() < 0.35:
        return person(setting, rng, identity, language, wanted, 0.7)
    n = setting.volume(rng, 1.2, wanted)
    items = habits.mixed(rng, setting, ("math", "question", "code", "chat", "safety"), n, language, 0.4)
    symbol = ("evaluation", "judge", "labelling")[int(rng.integers(3))]
    prompts = habits.script(rng, setting, symbol, language, items, int(rng.integers(1, 6)))
    span = lifetime(rng, setting.start, setting.days)
    tempo = conversations(
        rng, n, span, working_week(rng, night=0.25), turns=rng.uniform(5, 60), gap_s=float(rng.uniform(2, 40))
    )
    parameters = habits.call(rng, sessions=0.4, logprobs=0.25, effort=220)
    return Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language)
