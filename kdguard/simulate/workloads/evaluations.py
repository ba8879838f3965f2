"""Workloads of measurement: nightly sweeps, judges, day-one benchmarks, security research."""

from __future__ import annotations

import numpy as np

from kdguard.simulate.activity import Account, activity
from kdguard.simulate.identity import Shape, draw_identity
from kdguard.simulate.setting import DAY, Setting, draw_language
from kdguard.simulate.tempo import conversations, lifetime, scheduled, working_week
from kdguard.simulate.workloads import habits

SWEEP = Shape("evaluation", addresses=2.0, organised=0.8)
JUDGE = Shape("evaluation", addresses=2.0, organised=0.75)
SECURITY = Shape("evaluation", addresses=3.0, organised=0.6)


def evaluation_sweep(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """A benchmark asked every night: the same questions, step-by-step instructions, at times logprobs."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, SWEEP, language)
    n = setting.volume(rng, 3.0, wanted)
    span = lifetime(rng, setting.start, setting.days)
    per_run = float(np.clip(rng.lognormal(np.log(60), 0.8), 5, max(n, 5)))
    tempo = scheduled(rng, n, span, per_run=per_run, gap_s=float(rng.uniform(0.3, 12)))
    items = habits.mixed(
        rng, setting, ("math", "question", "code", "chat"), max(int(per_run), 2), language, 0.3
    )
    bench = habits.script(rng, setting, "evaluation", language, items, int(rng.integers(1, 5)))
    prompts = [bench[i % len(bench)] for i in range(n)]
    parameters = habits.call(rng, sessions=0.2, logprobs=0.25, effort=300)
    return (Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language),)


def product_judge(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Grading the replies of the customer's own product with a rubric, all day or nightly."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, JUDGE, language)
    n = setting.volume(rng, 2.0, wanted)
    span = lifetime(rng, setting.start, setting.days)
    if rng.random() < 0.5:
        tempo = scheduled(rng, n, span, per_run=float(rng.uniform(20, 200)), gap_s=float(rng.uniform(0.5, 8)))
    else:
        tempo = conversations(rng, n, span, working_week(rng, night=0.3), turns=1.3, gap_s=20)
    kind = ("utterance", "email", "chat", "question", "math", "instruct")[int(rng.integers(6))]
    inputs = setting.pools.draw(kind, n, rng, language, habits.topics(rng, n))
    prompts = habits.script(rng, setting, "judge", language, inputs, int(rng.integers(1, 4)))
    parameters = habits.call(
        rng, system=habits.system_prompt(rng, setting, language, 0.3), sessions=0.2, logprobs=0.1, effort=60
    )
    return (Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language),)


def day_one_benchmark(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Somebody who tests a new model within hours of its release, with everything at hand."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, SWEEP, language)
    n = setting.volume(rng, 1.5, wanted)
    span = (
        setting.release - int(rng.uniform(0.5, 12) * DAY),
        min(setting.release + int(3 * DAY), setting.end),
    )
    span = (max(span[0], setting.start), max(span[1], setting.start + DAY))
    tempo = conversations(
        rng, n, span, working_week(rng, night=0.4), turns=rng.uniform(5, 50), gap_s=float(rng.uniform(1, 20))
    )
    items = habits.mixed(rng, setting, ("math", "code", "question", "chat", "tool_use"), n, language, 1.0)
    prompts = habits.script(rng, setting, "evaluation", language, items, int(rng.integers(1, 7)))
    parameters = habits.call(rng, sessions=0.3, logprobs=0.2, effort=300)
    asked = activity(rng, setting, identity, tempo, prompts, parameters, adoption=0.05)
    return (Account(identity, asked, language),)


def security_research(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Red-team sweeps: refusals are frequent, prompts talk of system prompts and hidden rules."""
    language = draw_language(rng)
    identity = draw_identity(rng, setting, SECURITY, language)
    n = setting.volume(rng, 1.5, wanted)
    span = lifetime(rng, setting.start, setting.days)
    tempo = conversations(
        rng, n, span, working_week(rng, night=0.15), turns=rng.uniform(3, 40), gap_s=float(rng.uniform(3, 60))
    )
    prompts = habits.mixed(rng, setting, ("safety", "safety", "safety", "chat", "code"), n, language)
    parameters = habits.call(
        rng,
        system=habits.system_prompt(rng, setting, language, 0.5),
        sessions=0.5,
        refusal=float(rng.uniform(0.1, 0.6)),
    )
    return (Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language),)
