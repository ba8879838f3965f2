"""Assertions about rates, with a stated chance of failing wrongly."""

from __future__ import annotations

from scipy.stats import binom, binomtest


def assert_rate_at_most(hits: int, trials: int, rate: float, *, false_fail: float = 1e-6) -> None:
    """Fail only if `hits` of `trials` refutes "rate at most `rate`" at level `false_fail`."""
    p = binomtest(hits, trials, rate, alternative="greater").pvalue
    assert p > false_fail, f"{hits}/{trials} = {hits / trials:.4f} against {rate} (p={p:.1e})"


def assert_detectable(
    trials: int, rate: float, *, broken_rate: float, false_fail: float = 1e-6, false_pass: float = 1e-3
) -> None:
    """Fail if `trials` are too few for `assert_rate_at_most` to catch a rate of `broken_rate`."""
    critical = binom.isf(false_fail, trials, rate)
    assert binom.cdf(critical, trials, broken_rate) < false_pass, (
        f"{trials} trials cannot tell {broken_rate} from {rate}"
    )
