"""Workloads of batches: labelling, extraction from documents, small synthetic sets with permission."""

from __future__ import annotations

import numpy as np

from kdguard.simulate.activity import Account, activity
from kdguard.simulate.identity import Shape, draw_identity
from kdguard.simulate.setting import Setting, draw_language
from kdguard.simulate.tempo import lifetime, scheduled
from kdguard.simulate.workloads import habits

BATCH = Shape("batch", addresses=1.6, organised=0.7)
SYNTHETIC = Shape("batch", addresses=1.6, organised=0.8, verified=1.0, permitted=True)


def labelling(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Texts to be labelled with one code book; short answers, at times log-probabilities."""
    kind = ("utterance", "review", "email", "chat", "document")[int(rng.integers(5))]
    return (_batch(setting, rng, BATCH, "labelling", kind, wanted, effort=8, logprobs=0.3),)


def extraction_job(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """Fields to be found in documents: one template, JSON answers."""
    kind = ("document", "email", "review")[int(rng.integers(3))]
    return (_batch(setting, rng, BATCH, "extraction", kind, wanted, effort=120, logprobs=0.02),)


def synthetic_data(
    setting: Setting, rng: np.random.Generator, wanted: int | None, accounts: int | None
) -> tuple[Account, ...]:
    """A small user that makes test or training data and has a contract for it."""
    kind = ("utterance", "email", "chat", "question")[int(rng.integers(4))]
    return (_batch(setting, rng, SYNTHETIC, "synthetic", kind, wanted, effort=400, logprobs=0.02),)


def _batch(
    setting: Setting,
    rng: np.random.Generator,
    shape: Shape,
    symbol: str,
    kind: str,
    wanted: int | None,
    *,
    effort: float,
    logprobs: float,
) -> Account:
    language = draw_language(rng)
    identity = draw_identity(rng, setting, shape, language)
    n = setting.volume(rng, 3.0, wanted)
    span = lifetime(rng, setting.start, setting.days)
    per_run = float(np.clip(rng.lognormal(np.log(150), 1.0), 5, max(n, 5)))
    tempo = scheduled(rng, n, span, per_run=per_run, gap_s=float(rng.uniform(0.1, 6)))
    inputs = setting.pools.draw(kind, n, rng, language, habits.topics(rng, n))
    prompts = habits.script(rng, setting, symbol, language, inputs, int(rng.integers(1, 3)))
    parameters = habits.call(
        rng,
        system=habits.system_prompt(rng, setting, language, 0.3),
        sessions=0.15,
        effort=effort,
        logprobs=logprobs,
    )
    return Account(identity, activity(rng, setting, identity, tempo, prompts, parameters), language)
