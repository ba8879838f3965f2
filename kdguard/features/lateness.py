"""The lateness bound: which exchanges arrive too late to be put in their place.

An exchange is late when its time is more than the bound before the latest time seen earlier of its own account, in
the order of arrival. A service that holds rows back by the bound before it folds them can still put every row in
canonical order that is not late, and must leave out those that are; a batch that knows the order of arrival can leave
out the same ones. See the decision in `kdguard/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kdguard.features.signals import NO_TIME
from kdguard.features.text import hash_identities

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

LATENESS = timedelta(hours=1)
"""The bound of a service."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest time seen of each account, 16 bytes an account.

    Attributes:
        subject: Hashes of accounts, ascending and unique, shape (m,).
        latest_us: Microseconds since 1970, shape (m,).
    """

    subject: Codes = field(default_factory=lambda: np.empty(0, np.uint64))
    latest_us: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def of(self, subject: Codes) -> Ints:
        """Latest time of accounts, shape (n,); `NO_TIME` = none yet."""
        at = np.searchsorted(self.subject, subject)
        known = np.append(self.subject, np.uint64(0))[at] == subject
        known &= at < len(self.subject)
        return np.where(known, np.append(self.latest_us, NO_TIME)[at], NO_TIME)

    def put(self, subject: Codes, latest_us: Ints) -> Seen:
        """Set the latest time of accounts, ascending and unique."""
        at = np.searchsorted(self.subject, subject)
        known = np.isin(subject, self.subject, assume_unique=True)
        latest = self.latest_us.copy()
        latest[at[known]] = latest_us[known]
        return Seen(
            np.insert(self.subject, at[~known], subject[~known]),
            np.insert(latest, at[~known], latest_us[~known]),
        )


def late_rows(subject: Codes, time_us: Ints, bound_us: int, seen: Seen) -> tuple[npt.NDArray[np.bool_], Seen]:
    """Tell which rows are late.

    Args:
        subject: Hash of the account of each row, in order of arrival, shape (n,).
        time_us: Time of each; `NO_TIME` is never late and makes nothing late.
        bound_us: The bound in microseconds.
        seen: What was seen before these rows.

    Returns:
        Which rows are late, shape (n,), and what has been seen after them. Where the stream is cut, and what other
        accounts do, changes neither.
    """
    if not len(subject):
        return np.zeros(0, np.bool_), seen
    accounts, who = np.unique(subject, return_inverse=True)
    before = seen.of(accounts)
    latest = np.maximum(pd.Series(time_us).groupby(who).cummax().to_numpy(), before[who])
    late = (time_us != NO_TIME) & (time_us < latest - bound_us)
    np.maximum.at(before, who, time_us)
    return late, seen.put(accounts, before)


class OnTime:
    """Exchanges without those that arrive late.

    It can be iterated over as often as what it is given; every time begins anew.

    Args:
        batches: Exchanges in order of arrival, as `kdguard.read` gives them.
        bound: How late an exchange may be.

    Attributes:
        late: Exchanges left out so far in the latest iteration. They stay where they are, in the log.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], bound: timedelta = LATENESS) -> None:
        self._batches = batches
        self._bound_us = bound // timedelta(microseconds=1)
        self.late = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self.late, seen = 0, Seen()
        for batch in self._batches:
            account = batch.column("account_id")
            time_us = batch.column("time").cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
            nobody = account.is_null().to_numpy(zero_copy_only=False)
            timed = np.where(nobody, NO_TIME, time_us)
            late, seen = late_rows(hash_identities(account), timed, self._bound_us, seen)
            self.late += int(late.sum())
            yield batch.filter(pa.array(~late)) if late.any() else batch
