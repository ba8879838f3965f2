"""Long logs, an epoch at a time: each look at an account is paid for, and so is each month of looks.

References show how high an honest account's running supremum climbs within about a month. A log of half a year gives
it six times the looks, so it is cut into epochs of 31 days (a calendar month is one), each is folded afresh and ranked
as if it were alone, and an account's alpha is shared evenly over the epochs in which it can be ranked: its p-value
is the smallest of its epochs' times their number (Bonferroni). An account that is active in one month pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.scan import Trajectories
from kdguard.scoring.baseline import Baseline
from kdguard.scoring.facts import gather
from kdguard.scoring.pipeline import Profiles, Tally, encode_into, fold_slices
from kdguard.scoring.score import AccountScores, first_alarm, score_slices
from kdguard.scoring.spill import Spill

Floats = npt.NDArray[np.float64]

EPOCH_DAYS = 31
_DAY_US = 86_400_000_000


def score_log(
    exchanges: Iterable[pa.RecordBatch],
    baseline: Baseline,
    spill: Spill,
    *,
    accounts: pa.Table | None = None,
    alpha: float = 0.01,
    workers: int = 1,
) -> tuple[AccountScores, Tally]:
    """Encode a log into the spill, fold it epoch by epoch, and rank its accounts.

    Args:
        exchanges: The log.
        baseline: References.
        spill: Where its signals go.
        accounts: Accounts table; an account it does not know is unverified.
        alpha: Level at which an alarm would have been raised.
        workers: Processes.
    """
    tally = Tally()
    encode_into(spill, tally.count(exchanges), baseline.suite.encoder, workers)
    epochs = [
        score_slices(
            fold_slices(spill, baseline.suite.detectors, workers, window),
            baseline,
            accounts=accounts,
            alpha=alpha,
        )
        for window in spill.epochs(EPOCH_DAYS * _DAY_US)
    ]
    return (epochs[0] if len(epochs) == 1 else spend(epochs, accounts, alpha)), tally


def spend(epochs: Sequence[AccountScores], accounts: pa.Table | None, alpha: float) -> AccountScores:
    """Join the scores of epochs, each account's alpha shared over those in which it was ranked.

    What is told of an account besides its p-values is of the epoch with its smallest p-value, the earliest of equals.

    Args:
        epochs: Scores of disjoint spans of one log, in order.
        accounts: The accounts table they were ranked with.
        alpha: Level at which an alarm would have been raised.
    """
    profiles = _joined([epoch.profiles for epoch in epochs])
    facts = gather(profiles.account_id, profiles.org, accounts)
    place = [np.searchsorted(facts.subject, epoch.facts.subject) for epoch in epochs]

    def over_epochs(name: str) -> Floats:
        values = np.full((len(epochs), len(facts)), np.nan)
        for at, epoch in enumerate(epochs):
            values[at, place[at]] = getattr(epoch, name)
        return values

    p_values = over_epochs("p_value")
    paid = np.maximum(np.sum(~np.isnan(p_values), axis=0), 1)
    seen = np.zeros(p_values.shape, np.bool_)
    for at, where in enumerate(place):
        seen[at, where] = True
    chosen = np.argmin(np.where(seen, np.nan_to_num(p_values, nan=2.0), np.inf), axis=0)

    def of_chosen(name: str) -> npt.NDArray[Any]:
        first: npt.NDArray[Any] = getattr(epochs[0], name)
        values = np.empty(len(facts), first.dtype)
        for at, epoch in enumerate(epochs):
            mine = chosen[place[at]] == at
            values[place[at][mine]] = getattr(epoch, name)[mine]
        return values

    shown = of_chosen("shown")
    ranked = np.flatnonzero(shown >= 0)

    def of_shown(name: str) -> Floats:
        values = np.empty((len(ranked), getattr(epochs[0], name).shape[1]))
        for at, epoch in enumerate(epochs):
            mine = chosen[ranked] == at
            values[mine] = getattr(epoch, name)[shown[ranked[mine]]]
        return values

    rows, p_rows = _rows_of_chosen(epochs, facts.subject, chosen)
    account = np.searchsorted(facts.subject, rows.subject)
    p_rows = np.minimum(p_rows * paid[account], 1.0)
    return AccountScores(
        facts=facts,
        profiles=replace(profiles, trajectories=rows),
        p_value=_smallest(p_values, paid),
        p_pooled=_smallest(over_epochs("p_pooled"), paid),
        p_floor=_smallest(over_epochs("p_floor"), paid),
        score=of_chosen("score"),
        kind=of_chosen("kind"),
        calibration_size=of_chosen("calibration_size"),
        shown=np.where(shown >= 0, np.cumsum(shown >= 0) - 1, -1),
        contributions=of_shown("contributions"),
        outputs=of_shown("outputs"),
        first_alarm=first_alarm(p_rows, account, len(facts), alpha),
        drift=_drift(epochs),
        p_by_checkpoint=p_rows,
    )


def _smallest(values: Floats, paid: npt.NDArray[np.int64]) -> Floats:
    """Smallest value over epochs times the number paid for, at most 1; NaN where there is none, shape (m,)."""
    lowest = np.min(np.where(np.isnan(values), np.inf, values), axis=0)
    return np.where(np.isinf(lowest), np.nan, np.minimum(lowest * paid, 1.0))


def _rows_of_chosen(
    epochs: Sequence[AccountScores], subject: npt.NDArray[np.uint64], chosen: npt.NDArray[np.int64]
) -> tuple[Trajectories, Floats]:
    """Trajectory rows of each account's chosen epoch and their p-values, ordered by account and checkpoint."""
    parts, p_parts = [], []
    for at, epoch in enumerate(epochs):
        rows = epoch.profiles.trajectories
        mine = chosen[np.searchsorted(subject, rows.subject)] == at
        parts.append(rows.take(mine))
        p_parts.append(epoch.p_by_checkpoint[mine])
    rows = Trajectories.concatenate(parts, 0)
    order = np.lexsort((rows.checkpoint, rows.subject))
    return rows.take(order), np.concatenate(p_parts)[order]


def _joined(parts: Sequence[Profiles]) -> Profiles:
    """Profiles of whole accounts from those of their epochs, without trajectories."""
    told = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Profiles)[:-1]
    }
    subject, first, account = np.unique(told["subject"], return_index=True, return_inverse=True)
    requests = np.bincount(account, told["requests"], len(subject)).astype(np.int64)
    first_us, last_us = told["first_us"][first].copy(), told["last_us"][first].copy()
    np.minimum.at(first_us, account, told["first_us"])
    np.maximum.at(last_us, account, told["last_us"])
    org = np.zeros(len(subject), np.uint64)
    np.maximum.at(org, account, told["org"])
    return Profiles(
        subject, told["account_id"][first], org, requests, first_us, last_us, parts[0].trajectories
    )


def _drift(epochs: Sequence[AccountScores]) -> dict[str, float]:
    """Smallest p-value of drift over epochs, by kind, times their number."""
    names = dict.fromkeys(name for epoch in epochs for name in epoch.drift)
    found = {name: [epoch.drift[name] for epoch in epochs if name in epoch.drift] for name in names}
    return {name: min(1.0, min(p_values) * len(p_values)) for name, p_values in found.items()}
