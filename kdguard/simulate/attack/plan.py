"""What an operator means to send, column by column: the value that tactics turn into another of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.errors import AttackError
from kdguard.simulate import tactics as moves
from kdguard.simulate.activity import Activity, Call, activity, draw_client
from kdguard.simulate.identity import Identity, Shape, draw_identity
from kdguard.simulate.seeds import hex_ids, stream
from kdguard.simulate.setting import DAY, Ints, Setting
from kdguard.simulate.tempo import conversations, round_the_clock

Mask = npt.NDArray[np.bool_]
DEFAULT_TOKENS = 128
"""Output tokens that a choice may take where the request does not say."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in all.

    Attributes:
        requests: Requests, each counted once whatever its choices.
        output_tokens: Tokens that may be asked for: choices times `max_tokens`, summed; None = no limit.
    """

    requests: int
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.requests < 1 or (self.output_tokens is not None and self.output_tokens < 1):
            raise AttackError(
                f"a budget must be at least 1 request and 1 token, got {self.requests} and {self.output_tokens}"
            )


@dataclass(frozen=True)
class Plan:
    """n requests in time order, and the accounts that send them.

    Attributes:
        setting: Calendar, texts and public addresses.
        budget: Kept by every tactic.
        identities: The operator's accounts.
        account: Place in `identities`, shape (n,).
        calls: What is asked and when; `session` is unique across accounts, -1 = none; `attack` is the truth.
        request_id: Ids, length n; a tactic never gives one to another request.
        seed: Sampling seed, shape (n,); -1 = not sent.
        technique: What each attack request elicits; None on cover traffic.
        tactics: Bit i is set where tactic T(i + 1) made or changed the request, shape (n,).
        clean: The answer is to be cleaned of marks before training, shape (n,).
    """

    setting: Setting
    budget: Budget
    identities: tuple[Identity, ...]
    account: Ints
    calls: Activity
    request_id: list[str]
    seed: Ints
    technique: list[str | None]
    tactics: Ints
    clean: Mask

    def __len__(self) -> int:
        return len(self.request_id)

    @property
    def attack(self) -> Mask:
        """True where the request belongs to the extraction, shape (n,)."""
        return self.calls.attack

    @property
    def tokens(self) -> Ints:
        """Output tokens that each request may take at most, shape (n,)."""
        limit = np.where(self.calls.max_tokens < 0, DEFAULT_TOKENS, self.calls.max_tokens)
        return limit * np.maximum(self.calls.choices, 1)


_COLUMNS = ("account", "request_id", "seed", "technique", "tactics", "clean")


def draw_plan(
    setting: Setting,
    prompts: Sequence[str],
    *,
    budget: Budget,
    seed: int,
    call: Call | None = None,
    technique: str = "capability_sweep",
    model: str = "teacher",
    days: float = 2.0,
    turns: float = 1.0,
) -> Plan:
    """The plan of somebody who hides nothing: one account, all prompts, as soon as possible.

    Args:
        setting: The stage.
        prompts: One a request.
        budget: Requests beyond it are left out.
        seed: Of everything drawn.
        call: What is sent with every prompt.
        technique: Label of what is elicited.
        model: Model that is asked.
        days: Time the requests take.
        turns: Mean requests of a session; 1 = no sessions.
    """
    n = len(prompts)
    if n == 0 or days <= 0:
        raise AttackError(f"a plan needs at least one prompt and some days, got {n} and {days}")
    rng = stream(seed, "plan")
    who = draw_identity(rng, setting, Shape("batch", addresses=1), "en")
    span = setting.start, setting.start + int(days * DAY)
    tempo = conversations(rng, n, span, round_the_clock(rng), turns=turns, gap_s=20.0)
    asked = replace(call or Call(), sessions=turns > 1)
    calls = activity(rng, setting, who, tempo, prompts, asked)
    calls = replace(calls, model=[model] * n, attack=np.ones(n, np.bool_))
    plan = Plan(
        setting=setting,
        budget=budget,
        identities=(who,),
        account=np.zeros(n, np.int64),
        calls=calls,
        request_id=hex_ids(rng, n),
        seed=np.full(n, -1, np.int64),
        technique=[technique] * n,
        tactics=np.zeros(n, np.int64),
        clean=np.zeros(n, np.bool_),
    )
    return within_budget(plan)


def within_budget(plan: Plan) -> Plan:
    """The plan without the last requests that the budget does not cover."""
    fits = len(plan)
    if plan.budget.output_tokens is not None:
        fits = int(np.searchsorted(np.cumsum(plan.tokens), plan.budget.output_tokens, side="right"))
    fits = min(fits, plan.budget.requests)
    return plan if fits >= len(plan) else take(plan, np.arange(fits))


def take(plan: Plan, order: Ints) -> Plan:
    """The requests at some places, in that order."""
    chosen = order.tolist()
    columns: dict[str, Any] = {
        name: column[order] if isinstance(column, np.ndarray) else [column[i] for i in chosen]
        for name in _COLUMNS
        for column in [getattr(plan, name)]
    }
    return replace(plan, calls=moves.reorder(plan.calls, order), **columns)


def join(first: Plan, second: Plan) -> Plan:
    """Both plans' requests in time order; accounts, stage and budget are the first's."""
    calls = Activity(
        **{item.name: _joined(first.calls, second.calls, item.name) for item in fields(Activity)}
    )
    columns: dict[str, Any] = {name: _joined(first, second, name) for name in _COLUMNS}
    return in_order(replace(first, calls=calls, **columns))


def in_order(plan: Plan) -> Plan:
    """The same requests by time; requests of one instant keep their order."""
    time = plan.calls.time
    return plan if (np.diff(time) >= 0).all() else take(plan, np.argsort(time, kind="stable"))


def with_accounts(
    plan: Plan, identities: Sequence[Identity], account: Ints, rng: np.random.Generator
) -> Plan:
    """The plan with other senders; each request comes from one of its account's clients, a session from one."""
    client = np.zeros(len(plan), np.int64)
    for i, who in enumerate(identities):
        rows = np.flatnonzero(account == i)
        if len(rows):
            _, session = np.unique(own_sessions(plan.calls.session)[rows], return_inverse=True)
            client[rows] = draw_client(rng, session, len(who.clients))
    calls = replace(plan.calls, client=client)
    return replace(plan, identities=tuple(identities), account=account, calls=calls)


def own_sessions(session: Ints) -> Ints:
    """Sessions in which every request without one has its own."""
    lone = session < 0
    found = session.copy()
    found[lone] = session.max(initial=-1) + 1 + np.arange(int(lone.sum()))
    return found


def _joined(first: Any, second: Any, name: str) -> Any:
    one, other = getattr(first, name), getattr(second, name)
    return np.concatenate([one, other]) if isinstance(one, np.ndarray) else [*one, *other]
