"""From standardised scores to p-values: running suprema, volume bins, strata.

An account is looked at again at every checkpoint, so what is ranked is the largest value so far, among references'
largest values over the whole of the same volume bin: the rank can only err against accusing. Bins share alpha. A bin of
its own for heavy accounts costs everybody a fifth of alpha, and is made only from enough references to rank among.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scan import CHECKPOINTS
from kdguard.stats.conformal import references_needed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint64]

BIN_STARTS = (10, 640)
BIN_SHARES = (0.8, 0.2)
DESIGN_ALPHA = 0.01
FIRST_LOOKS = 2


@dataclass(frozen=True, slots=True)
class VolumeBins:
    """How alpha is shared over volumes.

    Attributes:
        first: Index of each bin's first checkpoint, ascending.
        share: Share of alpha of each bin; they add to 1.
    """

    first: tuple[int, ...]
    share: tuple[float, ...]

    def of(self, checkpoint: Ints) -> Ints:
        """Return the bin of each checkpoint index."""
        return np.searchsorted(np.asarray(self.first), checkpoint, side="right") - 1


def volume_bins(reached: Ints) -> VolumeBins:
    """Merge bins from the heavy end until each holds enough references to carry its share of alpha.

    Args:
        reached: Index of the last checkpoint each reference reached, shape (r,).
    """
    first = [CHECKPOINTS.index(start) for start in BIN_STARTS]
    share = list(BIN_SHARES)
    while len(first) > 1 and np.sum(reached >= first[-1]) < references_needed(DESIGN_ALPHA * share[-1]):
        first.pop()
        spare = share.pop()
        share[-1] += spare
    return VolumeBins(tuple(first), tuple(share))


def suprema(values: Floats, account: Ints, checkpoint: Ints, accounts: int, bins: VolumeBins) -> Floats:
    """Largest value of each account in each bin, shape (m, b); NaN = bin not reached.

    Args:
        values: Standardised scores, shape (t,).
        account: Row index of the account, shape (t,).
        checkpoint: Checkpoint index, shape (t,).
        accounts: m.
        bins: Volume bins.
    """
    best = np.full((accounts, len(bins.first)), -np.inf)
    np.maximum.at(best, (account, bins.of(checkpoint)), values)
    return np.where(np.isneginf(best), np.nan, best)


@dataclass(frozen=True, slots=True)
class Panel:
    """References of one kind that accounts are ranked among.

    Attributes:
        bins: Volume bins.
        best: References' suprema, shape (r, b); NaN = bin not reached.
        early: References' suprema over the first looks, for the test of drift, shape (r,).
        owner: Hash of each reference's owner, one account an owner, shape (r,).
    """

    bins: VolumeBins
    best: Floats
    early: Floats
    owner: Codes

    def __len__(self) -> int:
        return len(self.owner)

    def floor(self, bins_reached: Ints) -> Floats:
        """Smallest p-value an account can get that has reached so many bins, shape (m,)."""
        sizes = np.sum(~np.isnan(self.best), axis=0)
        floors = 1.0 / (sizes + 1.0) / np.asarray(self.bins.share)
        return np.minimum(np.minimum.accumulate(floors)[np.maximum(bins_reached, 1) - 1], 1.0)

    def rank(self, values: Floats, bin_of: Ints, owner: Codes) -> Floats:
        """p-value of each value within its bin, divided by the bin's share of alpha; may exceed 1.

        Nobody is ranked against a reference of the same owner.

        Args:
            values: Running suprema, shape (t,).
            bin_of: Bin of each, shape (t,).
            owner: Hash of the owner of each, shape (t,).
        """
        p_values = np.ones(len(values))
        order = np.argsort(self.owner)
        own = np.minimum(np.searchsorted(self.owner, owner, sorter=order), max(len(self) - 1, 0))
        is_own = self.owner[order][own] == owner if len(self) else np.zeros(len(values), np.bool_)
        for at in range(len(self.bins.first)):
            here = bin_of == at
            if not here.any():
                continue
            references = self.best[:, at]
            ordered = np.sort(references[~np.isnan(references)])
            above = len(ordered) - np.searchsorted(ordered, values[here], side="left")
            own_value = references[order[own[here]]] if len(self) else np.empty(0)
            counted = is_own[here] & ~np.isnan(own_value)
            above = above - (counted & (own_value >= values[here]))
            p_values[here] = (1.0 + above) / (len(ordered) - counted + 1.0) / self.bins.share[at]
        return p_values


def first_looks(values: Floats, account: Ints, checkpoint: Ints, accounts: int) -> Floats:
    """Largest value of each account over its first looks: drift is tested at equal exposure, shape (m,)."""
    early = np.full(accounts, np.nan)
    keep = checkpoint < FIRST_LOOKS
    np.fmax.at(early, account[keep], values[keep])
    return early


def running(values: Floats, account: Ints, bin_of: Ints) -> Floats:
    """Running supremum within each account and bin.

    Args:
        values: Standardised scores ordered by account and checkpoint, shape (t,).
        account: Row index of the account, shape (t,).
        bin_of: Bin of each checkpoint, shape (t,).
    """
    fresh = np.ones(len(values), np.bool_)
    fresh[1:] = (account[1:] != account[:-1]) | (bin_of[1:] != bin_of[:-1])
    place = np.arange(len(values)) - np.maximum.accumulate(np.where(fresh, np.arange(len(values)), 0))
    best = values.copy()
    for step in range(1, int(place.max(initial=0)) + 1):
        at = np.flatnonzero(place == step)
        best[at] = np.maximum(best[at], best[at - 1])
    return best


def running_minimum(values: Floats, account: Ints) -> Floats:
    """Running minimum within each account: what has ever been said is not taken back."""
    return -running(-values, account, np.zeros(len(values), np.int64))
