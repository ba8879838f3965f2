"""Workloads of code: coding agents with repeated context, and CI runners on many addresses."""

from __future__ import annotations

import numpy as np

from kdguard.simulate.activity import Account, activity
from kdguard.simulate.identity import Shape, draw_identity
from kdguard.simulate.setting import Setting, draw_language
from kdguard.simulate.tempo import conversations, lifetime, working_week
from kdguard.simulate.workloads import habits

AGENT = Shape("agent", addresses=2.0, organised=0.6)
CI = Shape("agent", addresses=30.0, organised=0.9)


def coding_agent(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """A coding agent: long bursts of turns, the same context again and again, tools."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, AGENT, language)
    n = setting.volume(rng, 1.5, wanted)
    span = lifetime(rng, setting.start, setting.days)
    tempo = conversations(
        rng, n, span, working_week(rng, night=0.1), turns=rng.uniform(4, 40), gap_s=float(rng.uniform(3, 45))
    )
    contexts = setting.pools.draw("code", int(tempo.session.max()) + 1, rng, topics=habits.topics(rng, n))
    payloads = [contexts[place] for place in tempo.session.tolist()]
    own = np.flatnonzero(rng.random(n) < rng.uniform(0.1, 0.7)).tolist()
    for place, text in zip(own, setting.pools.draw("code", len(own), rng), strict=True):
        payloads[place] = text
    prompts = habits.script(rng, setting, "agent", language, payloads, int(rng.integers(8, 60)))
    parameters = habits.call(
        rng,
        system=habits.system_prompt(rng, setting, language, 0.8),
        tools=rng.random() < 0.85,
        sessions=0.8,
        effort=320,
    )
    return (Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language),)


def ci_runner(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Jobs of a build system: every job comes from another address of a cloud."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, CI, language)
    n = setting.volume(rng, 1.5, wanted)
    span = lifetime(rng, setting.start, setting.days)
    tempo = conversations(
        rng, n, span, working_week(rng, night=0.3), turns=rng.uniform(1, 12), gap_s=float(rng.uniform(1, 10))
    )
    changes = habits.mixed(rng, setting, ("code", "code", "document"), n, "en")
    prompts = habits.script(rng, setting, "ci", language, changes, int(rng.integers(1, 4)))
    parameters = habits.call(
        rng, system=habits.system_prompt(rng, setting, language, 0.5), sessions=0.3, effort=260
    )
    return (Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language),)
