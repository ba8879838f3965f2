"""Wealth may be looked at after every batch."""

from __future__ import annotations

import numpy as np

from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.radioactivity.sequential import Wealth
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.windows import Texts
from tests.detectors.watermark.radioactivity.bigrams import KEY, SCHEME, marked, teacher, write
from tests.rates import assert_rate_at_most


def test_innocent_wealth_rarely_ever_passes_20(rng: np.random.Generator) -> None:
    """The largest of six looks, 200 keys: at most 0.05 by Ville's inequality."""
    batches = [Texts.of(write(teacher(), rng, 5, 60)) for _ in range(6)]
    ever = 0
    for number in range(200):
        wealth, largest = Wealth(SCHEME, derived_key(number.to_bytes(16, "big"), 2)), 0.0
        for batch in batches:
            wealth = wealth.after(batch)
            largest = max(largest, wealth.log10_e)
        ever += largest >= np.log10(20)
    assert_rate_at_most(ever, 200, 0.05)


def test_wealth_grows_on_marked_text(rng: np.random.Generator) -> None:
    wealth = Wealth(SCHEME, KEY)
    for _ in range(5):
        wealth = wealth.after(Texts.of(write(marked(teacher()), rng, 5, 60)))
    assert wealth.log10_e > 6


def test_the_same_again_earns_nothing(rng: np.random.Generator) -> None:
    batch = Texts.of(write(marked(teacher()), rng, 5, 60))
    once = Wealth(SCHEME, KEY).after(batch)
    again = once.after(batch)
    assert (again.log10_e, again.scored) == (once.log10_e, once.scored)


def test_waiting_times_are_bet_on_too(rng: np.random.Generator) -> None:
    scheme, key = GumbelPhilox(2), derived_key(b"a key of sixteen or more", 1)
    wealth = Wealth(scheme, key).after(Texts.of([rng.integers(0, 500, 400)]))
    assert -10 < wealth.log10_e < 2
    assert wealth.scored == 398
