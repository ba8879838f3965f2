"""Two-part mixtures of request scores: honest accounts differ in how much of the second part they hold.

An account's requests are ordinary with chance 1 - r and from the other part with chance r. Honest accounts have an r
too; of its distribution among them only one thing is assumed, that a larger r is rarer. Such a distribution is a
mixture of uniform ones that begin at 0 (Grenander 1956, Skand. Aktuarietidskr. 39:125-153); the likeliest mixture
(Kiefer and Wolfowitz 1956, Ann. Math. Stat. 27:887-906) is found by expectation-maximisation on a grid. The Bayes
factor of the shares of attacks against that distribution is an e-process under it: its supremum over time exceeds 1/p
with chance at most p, so values at 20 and at 2,000 requests are on one scale. p-values still come from ranking among
accounts, never from this model.

Requests of one account are not independent draws: the longer it is watched, the better a small lasting difference
from the ordinary part is resolved, and the more it looks like a share of the other. So an account's histogram counts
for at most so many requests (a power likelihood; Grünwald 2012, ALT, Lecture Notes in Computer Science 7568:169-183).
Measured, 2026-11-23: without a limit honest accounts of 1,280 requests and more alarmed five times as often as asked.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHARES = np.concatenate(([0.0], np.logspace(-4, 0, 41)))
"""Grid of shares r, shape (42,)."""
FEWEST_REQUESTS = 10
_ATTACK_SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
_ROUNDS = 300


def ordinary_part(bins: Floats) -> Floats:
    """Mean share of each bin among m reference accounts, each weighing the same, shape (b,).

    Half a request is added to each bin, so that one never seen in the reference is rare, not impossible.

    Args:
        bins: Requests of each account in each bin, shape (m, b), none of them empty.
    """
    total = bins.sum(axis=1)
    half = 0.5 / total.sum()
    shares: Floats = ((bins / total[:, None]).mean(axis=0) + half) / (1 + half * bins.shape[1])
    return shares


def log_likelihood(bins: Floats, ratio: Floats, most: float) -> Floats:
    """Log-likelihood at each share of the grid, against the ordinary part alone, nats, shape (m, 42).

    Args:
        bins: Requests of each account in each bin, shape (m, b).
        ratio: Density of the other part over the ordinary part in each bin, shape (b,).
        most: Requests that an account counts for at most.
    """
    bins = bins * np.minimum(1.0, most / np.maximum(bins.sum(axis=1), 1.0))[:, None]
    gain = np.log1p(SHARES[:, None] * (np.maximum(ratio, 1e-3) - 1)[None, :])
    # Row-wise sums, not a matrix product: BLAS rounds differently for different numbers of subjects.
    return np.stack([(bins * row).sum(axis=1) for row in gain], axis=1)


def learn_shares(bins: Floats, ratio: Floats, most: float) -> Floats:
    """Likeliest falling distribution of r among m accounts, one account's weight spread evenly, shape (42,).

    Decision, 2026-11-28. Without a shape, one honest look-alike among seventy teaching accounts is a seventieth of all
    honest accounts *at its very share*, and a pure campaign then weighs less than honest accounts with a little of it.
    A look-alike now speaks for every share up to its own.
    """
    likelihood = log_likelihood(bins, ratio, most)
    accounts, size = likelihood.shape
    relative = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    points = np.arange(1, size + 1)
    up_to = np.cumsum(relative, axis=1) / points
    weight = np.full(size, 1 / size)
    for _ in range(_ROUNDS):
        belief = up_to * weight
        belief /= belief.sum(axis=1, keepdims=True)
        weight = (belief.sum(axis=0) + 1 / size) / (accounts + 1)
    falling: Floats = np.cumsum((weight / points)[::-1])[::-1]
    return falling


def log10_bayes_factor(bins: Floats, ratio: Floats, honest: Floats, most: float) -> Floats:
    """Base-10 log of the likelihood averaged over attacks' shares over that averaged over honest ones, shape (m,).

    Args:
        bins: Requests of each account in each bin, shape (m, b).
        ratio: Density of the other part over the ordinary part in each bin, shape (b,).
        honest: Distribution of r among honest accounts, shape (42,).
        most: Requests that an account counts for at most.
    """
    likelihood = log_likelihood(bins, ratio, most)
    return (_log_average(likelihood, _attack()) - _log_average(likelihood, honest)) / np.log(10)


def _log_average(likelihood: Floats, weight: Floats) -> Floats:
    largest = likelihood.max(axis=1)
    average: Floats = largest + np.log((np.exp(likelihood - largest[:, None]) * weight).sum(axis=1) + 1e-300)
    return average


def _attack() -> Floats:
    weight = np.zeros(len(SHARES))
    for share in _ATTACK_SHARES:
        weight[np.abs(SHARES - share).argmin()] += 1 / len(_ATTACK_SHARES)
    return weight
