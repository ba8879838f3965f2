"""Accounts that the service cuts off: from then on every request comes back with status 403."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdguard.simulate.activity import Account
from kdguard.simulate.results import Results
from kdguard.simulate.seeds import stream

FORBIDDEN = 403
SUSPENDED_SHARE = 0.01
"""Share of all accounts, honest or not, that are suspended for reasons of their own, such as an unpaid bill."""


def ban_time(account: Account, seed: int, name: str) -> int | None:
    """Microsecond from which an account is cut off: by its campaign's story, or like anybody; None = never.

    Args:
        account: The account.
        seed: Seed of the world.
        name: Names its random stream.
    """
    rng = stream(seed, "suspension", name)
    if account.banned_at is not None or rng.random() >= SUSPENDED_SHARE:
        return account.banned_at
    return int(np.quantile(account.activity.time, rng.uniform(0.5, 1.0)))


def cut_off(
    came_back: Results, times: np.ndarray[tuple[int], np.dtype[np.int64]], ban: int | None
) -> Results:
    """Turn the answers of requests from the ban on into refusals of service.

    Args:
        came_back: Results of one account's requests.
        times: When they were sent, microseconds, shape (n,).
        ban: When the account was cut off; None = never.
    """
    if ban is None:
        return came_back
    late = times >= ban
    keep = (~late).tolist()
    return replace(
        came_back,
        response=[text if kept else None for text, kept in zip(came_back.response, keep, strict=True)],
        finish_reason=[
            why if kept else None for why, kept in zip(came_back.finish_reason, keep, strict=True)
        ],
        refused=came_back.refused & ~late,
        status=np.where(late, FORBIDDEN, came_back.status),
        output_tokens=np.where(late, 0, came_back.output_tokens),
    )
