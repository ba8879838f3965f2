"""What one account asked, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kdguard.simulate.identity import Identity
from kdguard.simulate.setting import MODELS as _MODELS
from kdguard.simulate.setting import NEW_MODEL, Floats, Ints, Setting, pick
from kdguard.simulate.tempo import Tempo

Texts = list[str | None]


@dataclass(frozen=True)
class Call:
    """Call parameters that an account sends with every request; None = not sent."""

    system: str | None = None
    tools: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    choices: int | None = None
    endpoint: str = "chat.completions"
    effort: float = 180.0
    refusal: float = 0.01
    sessions: bool = True


@dataclass(frozen=True)
class Activity:
    """Requests of one account in time order.

    Attributes:
        time: Microseconds UTC.
        session: Session index, -1 where the log has no session id.
        client: Index into the identity's clients.
        prompt: Last user turn.
        system: System prompt.
        tools: Tool definitions.
        model: Model asked for.
        endpoint: Operation.
        temperature: NaN = not sent.
        max_tokens: -1 = not sent.
        logprobs: -1 = not sent, else 0 or 1.
        top_logprobs: -1 = not sent.
        logit_bias: JSON or None.
        choices: -1 = not sent.
        effort: Median output tokens.
        refusal: Probability of a refusal.
        attack: True where the request belongs to a campaign.
    """

    time: Ints
    session: Ints
    client: Ints
    prompt: list[str]
    system: Texts
    tools: Texts
    model: list[str]
    endpoint: list[str]
    temperature: Floats
    max_tokens: Ints
    logprobs: Ints
    top_logprobs: Ints
    logit_bias: Texts
    choices: Ints
    effort: Floats
    refusal: Floats
    attack: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True)
class Account:
    """One account: who it is and what it asked.

    Attributes:
        identity: Record and clients.
        activity: Requests.
        language: Its own language, for the labels.
        banned_at: Microsecond from which the service refuses its requests; None = never.
    """

    identity: Identity
    activity: Activity
    language: str = field(default="en")
    banned_at: int | None = None


def activity(
    rng: np.random.Generator,
    setting: Setting,
    identity: Identity,
    tempo: Tempo,
    prompts: Sequence[str],
    call: Call,
    *,
    adoption: float | None = None,
    systems: Sequence[str | None] | None = None,
) -> Activity:
    """Spread one account's call parameters over its requests.

    Args:
        rng: Source of randomness.
        setting: The world's calendar and models.
        identity: Whose clients are used.
        tempo: Arrival times.
        prompts: One a request.
        call: What is sent each time.
        adoption: Mean days after which the account moves to the new model; None = drawn, or never.
        systems: One a request where the system prompt varies.
    """
    n = len(tempo.time)
    clients = len(identity.clients)
    return Activity(
        time=tempo.time,
        session=tempo.session if call.sessions else np.full(n, -1, np.int64),
        client=draw_client(rng, tempo.session, clients),
        prompt=list(prompts),
        system=list(systems) if systems is not None else [call.system] * n,
        tools=[call.tools] * n,
        model=_models(rng, setting, tempo.time, adoption),
        endpoint=[call.endpoint] * n,
        temperature=np.full(n, np.nan if call.temperature is None else call.temperature),
        max_tokens=_const(n, call.max_tokens),
        logprobs=_const(n, None if call.logprobs is None else int(call.logprobs)),
        top_logprobs=_const(n, call.top_logprobs),
        logit_bias=[None] * n,
        choices=_const(n, call.choices),
        effort=np.full(n, call.effort),
        refusal=np.full(n, call.refusal),
        attack=np.zeros(n, np.bool_),
    )


def _const(n: int, value: int | None) -> Ints:
    return np.full(n, -1 if value is None else value, np.int64)


def draw_client(rng: np.random.Generator, session: Ints, clients: int) -> Ints:
    """Clients change between sessions, not within one; early clients are used more."""
    if clients == 1:
        return np.zeros(len(session), np.int64)
    favourite = np.floor(clients * rng.random(int(session.max()) + 1) ** 1.5).astype(np.int64)
    return favourite[session]


def _models(rng: np.random.Generator, setting: Setting, time: Ints, adoption: float | None) -> list[str]:
    main = pick(rng, _MODELS, (5, 4, 2, 3))
    models = [main] * len(time)
    if rng.random() < 0.3:
        other = pick(rng, _MODELS)
        for place in np.flatnonzero(rng.random(len(time)) < rng.beta(1, 4)).tolist():
            models[place] = other
    if adoption is None and rng.random() < 0.35:
        return models
    days = rng.exponential(10.0 if adoption is None else adoption)
    share = rng.uniform(0.3, 1.0)
    moved = (time >= setting.release + days * 86_400e6) & (rng.random(len(time)) < share)
    for place in np.flatnonzero(moved).tolist():
        models[place] = NEW_MODEL
    return models
