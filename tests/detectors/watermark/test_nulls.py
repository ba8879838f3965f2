"""False alarms on text that bears no mark. `tests/bench/watermark.py` does the same on 2 10^7 texts."""

from __future__ import annotations

import numpy as np
import pytest

from kdguard.detectors.watermark.schemes.registry import make_scheme
from kdguard.detectors.watermark.windows import Texts, windows_of
from tests.detectors.watermark.nulls import KINDS, log10_p_of_nulls
from tests.rates import assert_detectable, assert_rate_at_most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["green-siphash", "gumbel-philox", "synthid-philox"])
def test_p_keeps_its_promise_on_any_text(name: str, kind: str, rng: np.random.Generator) -> None:
    """50,000 texts; fails wrongly once in 10^6 runs, and would see a rate half as high again."""
    told = log10_p_of_nulls(make_scheme(name), rng, kind, texts=500, keys=100, length=48)
    assert_detectable(len(told), 0.01, broken_rate=0.015)
    assert_rate_at_most(int((told <= -2).sum()), len(told), 0.01)
    assert_rate_at_most(int((told <= -4).sum()), len(told), 1e-4)


def test_counting_repeats_is_what_breaks_it(rng: np.random.Generator) -> None:
    """The study can fail: without leaving repeats out, loops alarm ten times too often."""
    scheme = make_scheme("gumbel-philox")
    text = KINDS["loops"](rng, 1, 400)[0]
    windows = windows_of(Texts.of([text]), 4, padded=True)
    keys = rng.integers(0, 1 << 64, (2_000, 1), np.uint64)
    score = scheme.null(windows, 1).totals(keys)
    p = 10.0 ** scheme.log10_tail(score.score, score.scored)
    assert (p <= 0.01).mean() > 0.1
