"""How many must stand out together before Benjamini-Hochberg selects anybody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import kdguard
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import load_world
from kdguard.verdict import fewest_selected, select_owners
from tests.scoring.worlds import small_baseline


@pytest.mark.parametrize(
    ("floor", "owners", "rate"), [(0.002, 160, 0.1), (0.01, 50, 0.1), (0.0001, 900, 0.05)]
)
def test_fewest_is_what_the_selection_does(floor: float, owners: int, rate: float) -> None:
    fewest = fewest_selected(floor, owners, rate)
    assert fewest is not None
    names = [str(at) for at in range(owners)]

    def selected(standing_out: int) -> int:
        p_values = np.where(np.arange(owners) < standing_out, floor, 1.0)
        return int(select_owners(p_values.tolist(), names, rate).sum())

    assert selected(fewest) == fewest
    assert selected(fewest - 1) == 0


def test_a_floor_above_the_rate_selects_nobody_ever() -> None:
    assert fewest_selected(0.2, 10, 0.1) is None
    assert fewest_selected(0.01, 0, 0.1) is None


def test_the_summary_tells_it_from_the_floor_and_not_from_what_was_seen() -> None:
    """Honest accounts alone: nobody comes near the floor, and the answer is about the baseline all the same."""
    month = simulate(replace(load_world("standard"), owners=12), seed=71, split="test")
    found = kdguard.score(month.exchanges, small_baseline(), month.accounts)
    ranked = [v.p_pooled for v in found.verdicts if v.kind == "account" and v.p_pooled is not None]
    panel = small_baseline().kinds["pooled"].panel
    floor = float(panel.floor(np.array([len(panel.bins.first)]))[0])
    assert fewest_selected(min(ranked), len(ranked), 0.1) != fewest_selected(floor, len(ranked), 0.1) == 1
    assert found.summary["smallest_group_bh_can_flag"] == 1
    assert found.summary["period"] == sorted(found.summary["period"])
