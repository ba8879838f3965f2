"""T2 and T13: when the requests are sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate import tactics as moves
from kdguard.simulate.attack.plan import Plan, in_order
from kdguard.simulate.attack.tactics.transform import chosen, mark
from kdguard.simulate.setting import DAY, Ints
from kdguard.simulate.tempo import arrivals, working_week

Shape = Literal["constant", "poisson", "diurnal", "bursts", "under_limit"]
Clock = Callable[[int, tuple[int, int], np.random.Generator], Ints]


@dataclass(frozen=True)
class RateShaping:
    """T2: give each account's requests the rhythm of something else.

    Attributes:
        strength: Share of the attack requests that are sent at other times.
        shape: `constant` as a metronome; `poisson` as many strangers; `diurnal` as an office; `bursts` common to
            all accounts, with sleep between; `under_limit` as fast as a rate limit allows.
        per_minute: The rate limit that `under_limit` stays below.
    """

    strength: float
    shape: Shape = "diurnal"
    per_minute: float = 60.0
    tactic: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape) or self.per_minute <= 0:
            raise AttackError(
                f"T2 needs a shape of {', '.join(get_args(Shape))} and per_minute > 0, "
                f"got '{self.shape}' and {self.per_minute}"
            )

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """New times within the plan's own span."""
        moved = chosen(plan, self.strength, rng)
        time = plan.calls.time.copy()
        span = int(time.min()), int(time.max()) + 1
        clock = self._clock(plan, rng)
        for account in np.unique(plan.account[moved]).tolist():
            rows = np.flatnonzero(moved & (plan.account == account))
            time[rows] = np.sort(clock(len(rows), span, rng))
        session = np.where(moved, -1, plan.calls.session)  # a conversation torn apart is none
        calls = replace(plan.calls, time=time, session=session)
        return in_order(mark(replace(plan, calls=calls), moved, self.tactic))

    def _clock(self, plan: Plan, rng: np.random.Generator) -> Clock:
        if self.shape == "bursts":
            rhythm = moves.draw_rhythm(rng, plan.setting, len(plan.identities)).bursts
            return lambda n, span, rng: _bursts(n, span, rhythm, rng)
        if self.shape == "under_limit":
            return lambda n, span, rng: _under_limit(n, span, self.per_minute, rng)
        return {"constant": _constant, "poisson": _poisson, "diurnal": _diurnal}[self.shape]


@dataclass(frozen=True)
class Drip:
    """T13: few requests a day over a long time.

    Attributes:
        strength: From the plan's own length (0) to `days` (1), in a straight line.
        days: Length at full strength; never shortens a plan.
    """

    strength: float
    days: float = 30.0
    tactic: ClassVar[int] = 13

    def __post_init__(self) -> None:
        if self.days <= 0:
            raise AttackError(f"T13 needs days > 0, got {self.days}")

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Stretch the time between requests; turns of one session keep their pace."""
        time = plan.calls.time
        first, length = int(time.min()), int(time.max() - time.min())
        factor = 1 + self.strength * max(self.days * DAY / max(length, 1) - 1, 0)
        begin = _session_begin(time, plan.calls.session)
        lone_or_first = first + ((begin - first) * factor).astype(np.int64)
        calls = replace(plan.calls, time=lone_or_first + (time - begin))
        return in_order(mark(replace(plan, calls=calls), np.ones(len(plan), np.bool_), self.tactic))


def _session_begin(time: Ints, session: Ints) -> Ints:
    """First time of each request's session; its own where it has none."""
    found = time.copy()
    for one in np.unique(session[session >= 0]).tolist():
        rows = session == one
        found[rows] = time[rows].min()
    return found


def _constant(n: int, span: tuple[int, int], rng: np.random.Generator) -> Ints:
    step = (span[1] - span[0]) / n
    return (span[0] + (np.arange(n) + rng.random()) * step).astype(np.int64)


def _poisson(n: int, span: tuple[int, int], rng: np.random.Generator) -> Ints:
    return rng.integers(span[0], span[1], size=n)


def _diurnal(n: int, span: tuple[int, int], rng: np.random.Generator) -> Ints:
    return arrivals(rng, n, span, working_week(rng))


def _bursts(n: int, span: tuple[int, int], rhythm: Ints, rng: np.random.Generator) -> Ints:
    inside = rhythm[(rhythm >= span[0]) & (rhythm < span[1])]
    starts = inside if len(inside) else np.array([span[0]])
    return starts[rng.integers(len(starts), size=n)] + (rng.exponential(30, size=n) * 1e6).astype(np.int64)


def _under_limit(n: int, span: tuple[int, int], per_minute: float, rng: np.random.Generator) -> Ints:
    """Each gap a little longer than the limit allows, so that no minute holds more."""
    gaps = 60e6 / per_minute * (1 + rng.uniform(0.01, 0.1, size=n))
    return span[0] + np.cumsum(gaps).astype(np.int64)
