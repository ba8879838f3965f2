"""When requests arrive: people by day and week, products round the clock, jobs by a scheduler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.simulate.setting import DAY, HOUR, Floats, Ints


@dataclass(frozen=True)
class Tempo:
    """Arrival times and the session each belongs to.

    Attributes:
        time: Microseconds UTC, ascending.
        session: Index of the session.
    """

    time: Ints
    session: Ints


def working_week(rng: np.random.Generator, *, night: float = 0.03, weekend: float | None = None) -> Floats:
    """Weights of the 168 hours of a UTC week for one person or office in a timezone of its own."""
    zone = int(rng.integers(-9, 12))
    rise, peak, width = rng.uniform(6, 10), rng.uniform(10, 21), rng.uniform(2.5, 6)
    hour = np.arange(24)
    day = night + np.exp(-0.5 * ((hour - peak) / width) ** 2) * (hour >= rise)
    rest = rng.beta(2, 3) * 1.2 if weekend is None else weekend
    week = np.concatenate([day * (rest if weekday >= 5 else 1.0) for weekday in range(7)])
    return np.roll(week * rng.gamma(4, 0.25, size=168), -zone)


def round_the_clock(rng: np.random.Generator) -> Floats:
    """Nearly flat weights of the week: end users in every timezone."""
    wave = 1 + rng.uniform(0, 0.7) * np.sin(2 * np.pi * (np.arange(168) + rng.uniform(0, 24)) / 24)
    return np.asarray(wave * rng.gamma(20, 0.05, size=168), dtype=np.float64)


def lifetime(rng: np.random.Generator, start: int, days: int) -> tuple[int, int]:
    """First and last microsecond an account is active: mostly the whole world, at times a part of it."""
    if rng.random() < 0.6:
        return start, start + days * DAY
    length = rng.uniform(0.15, 1.0) * days
    begin = rng.uniform(0, days - length)
    return start + int(begin * DAY), start + int((begin + length) * DAY)


def arrivals(rng: np.random.Generator, n: int, span: tuple[int, int], week: Floats) -> Ints:
    """`n` ascending times inside a span, hours weighted by a UTC week."""
    first, last = span
    hours = max((last - first) // HOUR, 1)
    offset = (first // HOUR + 72) % 168  # 1 January 1970 was a Thursday
    weights = week[(np.arange(hours) + offset) % 168]
    edges = np.concatenate([[0.0], np.cumsum(weights)])
    drawn = np.sort(rng.random(n)) * edges[-1]
    return np.asarray(first + np.interp(drawn, edges, np.arange(hours + 1)) * HOUR, dtype=np.int64)


def conversations(
    rng: np.random.Generator,
    n: int,
    span: tuple[int, int],
    week: Floats,
    *,
    turns: float,
    gap_s: float,
    gap_sigma: float = 1.0,
) -> Tempo:
    """Sessions of geometric length with log-normal gaps between turns.

    Args:
        rng: Source of randomness.
        n: Requests in all.
        span: Microseconds between which sessions start.
        week: Weights of the hours of the week.
        turns: Mean turns a session, at least 1.
        gap_s: Median seconds between two turns.
        gap_sigma: Spread of the log of the gap.
    """
    lengths = rng.geometric(min(1.0, 1 / max(turns, 1.0)), size=max(int(n / max(turns, 1.0) * 2) + 8, 8))
    ends = np.cumsum(lengths)
    while ends[-1] < n:
        ends = np.concatenate([ends, ends[-1] + np.cumsum(rng.geometric(1 / max(turns, 1.0), size=n))])
    count = int(np.searchsorted(ends, n)) + 1
    begins = np.concatenate([[0], ends[: count - 1]])
    session = np.repeat(np.arange(count), np.diff(np.concatenate([begins, [n]])))
    gaps = rng.lognormal(np.log(gap_s * 1e6), gap_sigma, size=n)
    elapsed = np.cumsum(gaps)
    within = elapsed - elapsed[begins][session]
    starts = rng.permutation(arrivals(rng, count, span, week))
    time = starts[session] + within.astype(np.int64)
    order = np.argsort(time, kind="stable")
    return Tempo(time[order], session[order])


def scheduled(
    rng: np.random.Generator, n: int, span: tuple[int, int], *, per_run: float, gap_s: float
) -> Tempo:
    """Runs started by a scheduler at a fixed minute, daily or on some days, with short gaps within."""
    days = max((span[1] - span[0]) // DAY, 1)
    runs = int(np.clip(round(n / max(per_run, 1)), 1, days * 4))
    minute = int(rng.integers(0, 24 * 60)) * 60_000_000
    places = (
        np.sort(rng.permutation(days * 4)[:runs])
        if runs > days
        else np.sort(rng.permutation(days)[:runs]) * 4
    )
    starts = span[0] // DAY * DAY + places * (DAY // 4) + minute + rng.integers(0, 20_000_000, size=runs)
    session = np.sort(rng.integers(runs, size=n)) if rng.random() < 0.3 else np.arange(n) * runs // max(n, 1)
    gaps = rng.lognormal(np.log(gap_s * 1e6), 0.4, size=n)
    elapsed = np.cumsum(gaps)
    first = np.searchsorted(session, np.arange(runs))
    within = elapsed - elapsed[np.minimum(first, n - 1)][session]
    time = starts[session] + within.astype(np.int64)
    order = np.argsort(time, kind="stable")
    return Tempo(time[order], session[order])
