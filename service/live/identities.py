"""Hashes of the requests that were taken in: a copy that comes later is known by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.text import hash_identities, mix

Codes = npt.NDArray[np.uint64]
_KEY = np.uint64(0x6B64_6775_6172_6432)


@dataclass(frozen=True, slots=True)
class Identities:
    """A set of hashes that grows.

    Attributes:
        runs: Ascending hashes, each run more than twice as long as the next, so that adding a few does not copy all.
    """

    runs: tuple[Codes, ...] = ()

    def among(self, wanted: Codes) -> npt.NDArray[np.bool_]:
        """Which of some hashes are in it, shape (n,)."""
        found = np.zeros(len(wanted), np.bool_)
        for run in self.runs:
            found |= run[np.minimum(np.searchsorted(run, wanted), len(run) - 1)] == wanted
        return found

    def plus(self, more: Codes) -> Identities:
        """With further hashes, none of which is in it."""
        if not len(more):
            return self
        runs = [*self.runs, np.sort(more)]
        while len(runs) > 1 and len(runs[-2]) <= 2 * len(runs[-1]):
            above = runs.pop()
            runs[-1] = np.sort(np.concatenate([runs[-1], above]), kind="stable")  # merges what is ascending
        return Identities(tuple(runs))

    def ascending(self) -> Codes:
        """All of them."""
        return np.sort(np.concatenate([np.empty(0, np.uint64), *self.runs]), kind="stable")


def ids_of(signals: pa.Table) -> Codes:
    """Hash of (account, request, choice) of each row; two of n requests of an account agree with chance n^2 / 2^65."""
    request = hash_identities(signals["request_id"].combine_chunks())
    choice = signals["choice"].to_numpy().astype(np.uint64)
    return mix(signals["subject"].to_numpy() ^ mix(request ^ mix(choice ^ _KEY)))
