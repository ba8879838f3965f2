"""Tactics as small transforms of accounts and activities; each has a strength from 0 to 1.

Sybil accounts, rate shaping, benign mix, paraphrase, log-probability harvest, splitting and drip, after
https://www.anthropic.com/news/detecting-and-preventing-distillation-attacks and CISA AA26-251A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from kdguard.simulate.activity import Account, Activity
from kdguard.simulate.identity import Identity
from kdguard.simulate.setting import DAY, HOUR, NEW_MODEL, Ints, Setting


@dataclass(frozen=True)
class Rhythm:
    """Bursts common to the accounts of one campaign.

    Attributes:
        bursts: Microseconds at which bursts begin.
    """

    bursts: Ints


def draw_rhythm(rng: np.random.Generator, setting: Setting, accounts: int) -> Rhythm:
    """Between a burst every other day and several a day."""
    count = int(setting.days * rng.uniform(0.5, 4)) + 1
    return Rhythm(np.sort(rng.integers(setting.start, setting.end - HOUR, size=count)))


def places(rng: np.random.Generator, n: int, mix: float, warm_up: float) -> Ints:
    """Which of an account's `n` requests are attack: at least one, none during the warm-up."""
    first = min(int(n * warm_up), n - 1)
    count = min(max(1, round(n * mix)), n - first)
    return np.sort(first + rng.permutation(n - first)[:count])


def reorder(activity: Activity, order: Ints) -> Activity:
    """The same requests in another order."""
    chosen = order.tolist()
    values: dict[str, Any] = {
        item.name: column[order] if isinstance(column, np.ndarray) else [column[i] for i in chosen]
        for item in fields(activity)
        for column in [getattr(activity, item.name)]
    }
    return Activity(**values)


def retime(activity: Activity, time: Ints) -> Activity:
    """The same requests at other times, sorted."""
    return reorder(replace(activity, time=time), np.argsort(time, kind="stable"))


def synchronise(
    activity: Activity, synchrony: float, jitter: float, rhythm: Rhythm, rng: np.random.Generator
) -> Activity:
    """Move a share of the attack requests into common bursts; jitter blurs bursts and other times alike."""
    if synchrony == 0 and jitter == 0:
        return activity
    n = len(activity)
    time = activity.time.copy()
    moved = activity.attack & (rng.random(n) < synchrony)
    count = int(moved.sum())
    time[moved] = rhythm.bursts[rng.integers(len(rhythm.bursts), size=count)]
    time[moved] += (rng.exponential(30, size=count) * 1e6).astype(np.int64)
    noise = rng.lognormal(0, 1, size=n) * jitter * HOUR
    time[activity.attack] += noise[activity.attack].astype(np.int64)
    session = activity.session.copy()
    if count and session.max() >= 0:
        session[moved] = session.max() + 1 + np.arange(count) // 4
    return retime(replace(activity, session=session), time)


def pivot(activity: Activity, strength: float, rng: np.random.Generator, setting: Setting) -> Activity:
    """Send a share of the attack requests to the new model within a day of its release."""
    if strength == 0:
        return activity
    lag = rng.uniform(0, DAY)
    chosen = (
        activity.attack & (activity.time > setting.release + lag) & (rng.random(len(activity)) < strength)
    )
    model = [NEW_MODEL if hit else old for hit, old in zip(chosen.tolist(), activity.model, strict=True)]
    return replace(activity, model=model)


def ask_logprobs(
    activity: Activity,
    strength: float,
    rng: np.random.Generator,
    *,
    top: tuple[int, int] = (5, 21),
    token_ids: tuple[int, int] = (100, 99_000),
) -> Activity:
    """Ask for the alternatives of each token, in some requests with a logit bias to reach the rest.

    Args:
        activity: Requests of one account, or of several that act as one.
        strength: Share of the attack requests that ask.
        rng: Source of randomness.
        top: Least number of alternatives, and one more than the most.
        token_ids: Least token id that a bias names, and one more than the largest.

    References:
        Carlini et al. (2024), arXiv 2403.06634; Finlayson et al. (2024), arXiv 2403.09539.
    """
    if strength == 0:
        return activity
    chosen = activity.attack & (rng.random(len(activity)) < strength)
    logprobs = np.where(chosen, 1, activity.logprobs)
    told = np.where(chosen, int(rng.integers(*top)), activity.top_logprobs)
    bias = list(activity.logit_bias)
    if rng.random() < 0.3:
        for place in np.flatnonzero(chosen & (rng.random(len(activity)) < 0.5)).tolist():
            bias[place] = f'{{"{int(rng.integers(*token_ids))}":-100}}'
    return replace(activity, logprobs=logprobs, top_logprobs=told, logit_bias=bias)


def share_cards(accounts: Sequence[Account], strength: float, rng: np.random.Generator) -> list[Account]:
    """Groups of accounts pay with one card."""
    return _known_as(accounts, pool_cards([account.identity for account in accounts], strength, rng))


def pool_cards(owners: Sequence[Identity], strength: float, rng: np.random.Generator) -> list[Identity]:
    """Identities of which a share pays with cards common to a group."""
    found = list(owners)
    for group in _groups(len(found), strength, rng):
        card = next((found[i].payment_hash for i in group if found[i].payment_hash), None)
        for i in group:
            found[i] = replace(found[i], payment_hash=card)
    return found


def share_addresses(accounts: Sequence[Account], strength: float, rng: np.random.Generator) -> list[Account]:
    """Groups of accounts come from one set of addresses, each with its own programs."""
    return _known_as(accounts, pool_addresses([account.identity for account in accounts], strength, rng))


def pool_addresses(owners: Sequence[Identity], strength: float, rng: np.random.Generator) -> list[Identity]:
    """Identities of which a share comes from addresses common to a group."""
    found = list(owners)
    for group in _groups(len(found), strength, rng):
        homes = [client.address for i in group[:4] for client in found[i].clients if client.address]
        for i in group:
            own = found[i]
            if homes:
                picks = rng.integers(len(homes), size=len(own.clients)).tolist()
                clients = tuple(replace(c, address=homes[p]) for c, p in zip(own.clients, picks, strict=True))
                found[i] = replace(own, clients=clients)
    return found


def _known_as(accounts: Sequence[Account], owners: Sequence[Identity]) -> list[Account]:
    return [replace(one, identity=owner) for one, owner in zip(accounts, owners, strict=True)]


def _groups(n: int, strength: float, rng: np.random.Generator) -> list[list[int]]:
    chosen = rng.permutation(n)[: round(n * strength)].tolist()
    size = int(rng.integers(5, 40))
    return [group for i in range(0, len(chosen), size) if len(group := chosen[i : i + size]) > 1]


def succeed(
    accounts: Sequence[Account], strength: float, rng: np.random.Generator, setting: Setting
) -> list[Account]:
    """Pairs of accounts: one is banned and tries up to three times more, the other starts within two days of it."""
    found = list(accounts)
    chosen = rng.permutation(len(found))[: round(len(found) * strength)].tolist()
    for old, new in zip(chosen[::2], chosen[1::2], strict=False):
        ban = setting.start + int(setting.days * DAY * rng.uniform(0.25, 0.75))
        back = min(ban + int(rng.uniform(0.1, 48) * HOUR), setting.end - HOUR)
        found[old] = _banned(_squeeze(found[old], setting.start, ban), ban, back, rng)
        found[new] = _squeeze(found[new], back, setting.end)
        if rng.random() < 0.5:
            opened = back - int(rng.uniform(0.1, 20) * HOUR)
            found[new] = replace(found[new], identity=replace(found[new].identity, created_at=opened))
    return found


def _banned(account: Account, ban: int, back: int, rng: np.random.Generator) -> Account:
    """Leave some last requests to be sent between the ban and the successor's first."""
    time = account.activity.time.copy()
    tries = min(int(rng.integers(1, 4)), len(time) - 1)
    if tries:
        time[-tries:] = np.sort(rng.integers(ban, max(back, ban + 1), size=tries))
    return replace(account, activity=replace(account.activity, time=time), banned_at=ban)


def _squeeze(account: Account, first: int, last: int) -> Account:
    time = account.activity.time
    low, high = int(time.min()), int(time.max())
    low, high = max(low, first) if low < last else first, min(high, last) if high > first else last
    scaled = low + (time - time.min()) / max(int(time.max() - time.min()), 1) * max(high - low, 1)
    return replace(account, activity=replace(account.activity, time=scaled.astype(np.int64)))
