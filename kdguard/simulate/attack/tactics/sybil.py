"""T1: one operator behind many accounts, with common cards and addresses, and new ones after a ban.

Anthropic (23 February 2026) reports some 24,000 fraudulent accounts behind three campaigns:
https://www.anthropic.com/news/detecting-and-preventing-distillation-attacks
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate import tactics as moves
from kdguard.simulate.attack.plan import Mask, Plan, in_order, own_sessions, with_accounts
from kdguard.simulate.attack.tactics.transform import mark
from kdguard.simulate.identity import STRATA, Identity, Shape, draw_identity
from kdguard.simulate.setting import DAY, HOUR, Ints, draw_language, pick


@dataclass(frozen=True)
class Sybil:
    """Spread the requests over accounts by a power law; a session stays with one account.

    Attributes:
        strength: Share of `accounts` that are opened beyond the first.
        accounts: Accounts at full strength.
        skew: Exponent of the power law; 0 gives all accounts the same share.
        overlap: Share of the accounts with cards, and of those with addresses, common to a group.
        bans: Share of the accounts that are banned once and replaced within two days.
    """

    strength: float
    accounts: int = 24
    skew: float = 1.0
    overlap: float = 0.3
    bans: float = 0.1
    tactic: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.accounts < 2 or self.skew < 0 or not 0 <= self.overlap <= 1 or not 0 <= self.bans <= 1:
            raise AttackError("T1 needs accounts >= 2, skew >= 0, overlap and bans from 0 to 1")

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """All requests over 1 + strength (accounts - 1) accounts, and over the successors of banned ones."""
        count = 1 + max(1, round(self.strength * (self.accounts - 1)))
        known = list(plan.identities[:count])
        known += [_open(plan, rng) for _ in range(count - len(known))]
        known = moves.pool_cards(known, self.overlap, rng)
        known = moves.pool_addresses(known, self.overlap, rng)
        weights = (1.0 + np.arange(count)) ** -self.skew
        _, place = np.unique(own_sessions(plan.calls.session), return_inverse=True)
        sessions = int(place.max(initial=-1)) + 1
        account = rng.choice(count, size=sessions, p=weights / weights.sum())[place]
        plan = replace(plan, identities=tuple(known), account=account.astype(np.int64))
        plan = mark(self._ban(plan, rng), np.ones(len(plan), np.bool_), self.tactic)
        return in_order(with_accounts(plan, plan.identities, plan.account, rng))

    def _ban(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Some accounts stop at a ban; a new one goes on, and sends first what was due in between."""
        known, account = list(plan.identities), plan.account.copy()
        time, session = plan.calls.time.copy(), plan.calls.session.copy()
        first, last = int(time.min()), int(time.max())
        for old in rng.permutation(len(known))[: round(len(known) * self.bans)].tolist():
            ban = first + int((last - first) * rng.uniform(0.25, 0.75))
            back = ban + int(rng.uniform(0.1, 48) * HOUR)
            fresh = replace(_open(plan, rng), created_at=back - int(rng.uniform(0.1, 20) * HOUR))
            card = known[old].payment_hash if rng.random() < self.overlap else fresh.payment_hash
            later = (account == old) & (time > ban)
            waiting = np.flatnonzero(later & (time < back))
            time[waiting] = back + np.cumsum(rng.exponential(20e6, size=len(waiting)).astype(np.int64) + 1)
            session = _break_off(session, later)
            account[later] = len(known)
            known.append(replace(fresh, payment_hash=card))
        calls = replace(plan.calls, time=time, session=session)
        return replace(plan, identities=tuple(known), account=account, calls=calls)


def _break_off(session: Ints, later: Mask) -> Ints:
    """Sessions of which the later part is another session."""
    moved = later & (session >= 0)
    _, place = np.unique(session[moved], return_inverse=True)
    found = session.copy()
    found[moved] = session.max(initial=-1) + 1 + place
    return found


def _open(plan: Plan, rng: np.random.Generator) -> Identity:
    """An account like those of other customers, opened before the first request."""
    shape = Shape(pick(rng, STRATA), addresses=rng.uniform(1, 3), organised=0.3, verified=0.3)
    who = draw_identity(rng, plan.setting, shape, draw_language(rng))
    return replace(who, created_at=min(who.created_at, plan.setting.start - int(rng.uniform(0, 3) * DAY)))
