from __future__ import annotations

import numpy as np
import pytest

from kdguard.scan import CHECKPOINTS
from kdguard.scoring.ranking import (
    Panel,
    VolumeBins,
    first_looks,
    running,
    running_minimum,
    suprema,
    volume_bins,
)
from kdguard.stats.conformal import references_needed
from tests.rates import assert_detectable, assert_rate_at_most


def test_bins_merge_until_each_can_carry_its_share() -> None:
    ten, heavy = (CHECKPOINTS.index(count) for count in (10, 640))
    enough = references_needed(0.01 * 0.2)
    assert volume_bins(np.full(enough, heavy)).first == (ten, heavy)
    assert volume_bins(np.full(enough, heavy - 1)).first == (ten,)
    few = volume_bins(np.array([CHECKPOINTS.index(40)] * 5000 + [heavy] * (enough - 1)))
    assert few.first == (ten,)
    assert few.share == pytest.approx((1.0,))


def test_shares_of_alpha_add_to_one() -> None:
    for reached in (np.zeros(50, np.int64), np.full(9000, CHECKPOINTS.index(2560))):
        assert sum(volume_bins(reached).share) == pytest.approx(1)


def test_running_supremum_restarts_with_account_and_bin() -> None:
    values = np.array([1.0, 3.0, 2.0, 0.0, 5.0, 4.0])
    account = np.array([0, 0, 0, 1, 1, 1])
    bins = np.array([0, 0, 1, 0, 0, 0])
    assert running(values, account, bins).tolist() == [1, 3, 2, 0, 5, 5]
    assert running_minimum(values, account).tolist() == [1, 1, 1, 0, 0, 0]


def test_suprema_know_which_bins_were_reached() -> None:
    bins = VolumeBins((0, 2), (0.5, 0.5))
    best = suprema(np.array([1.0, 4.0, 2.0]), np.array([0, 0, 1]), np.array([0, 2, 1]), 2, bins)
    assert best[0].tolist() == [1, 4]
    assert best[1, 0] == 2
    assert np.isnan(best[1, 1])


def test_first_looks_leave_later_ones_out() -> None:
    early = first_looks(np.array([1.0, 3.0, 9.0, 5.0]), np.array([0, 0, 0, 1]), np.array([0, 1, 2, 2]), 2)
    assert early[0] == 3
    assert np.isnan(early[1])


def test_nobody_is_ranked_against_their_own_owner() -> None:
    bins = VolumeBins((0,), (1.0,))
    panel = Panel(bins, np.array([[5.0], [1.0], [2.0]]), np.zeros(3), np.array([7, 8, 9], np.uint64))
    own, other = panel.rank(np.array([5.0, 5.0]), np.zeros(2, np.int64), np.array([7, 1], np.uint64))
    assert own == pytest.approx(1 / 3)
    assert other == pytest.approx(2 / 4)


def test_alarms_stay_rare_for_accounts_that_are_looked_at_again_and_again(rng: np.random.Generator) -> None:
    """Random walks looked at 14 times against references looked at as often; false-fail rate 1e-6."""
    accounts, references, looks, alpha = 8_000, 1_999, 14, 0.01
    first = CHECKPOINTS.index(10)
    bins = volume_bins(np.full(references, first + looks - 1))
    checkpoint = np.tile(np.arange(first, first + looks), accounts)
    account = np.repeat(np.arange(accounts), looks)

    def walks(count: int) -> np.ndarray:
        steps = rng.standard_t(3, (count, looks)) + rng.standard_t(3, (count, 1))
        return np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, looks + 1))

    panel_best = suprema(
        walks(references).reshape(-1),
        np.repeat(np.arange(references), looks),
        np.tile(np.arange(first, first + looks), references),
        references,
        bins,
    )
    panel = Panel(bins, panel_best, panel_best[:, 0], np.arange(1, references + 1, dtype=np.uint64))
    bin_of = bins.of(checkpoint)
    values = running(walks(accounts).reshape(-1), account, bin_of)
    p = running_minimum(panel.rank(values, bin_of, np.zeros(len(values), np.uint64)), account)
    ever = p.reshape(accounts, looks)[:, -1] <= alpha
    # One panel serves all accounts, so its own luck counts too: 1.5 % covers a panel two deviations off.
    assert_rate_at_most(int(ever.sum()), accounts, 0.015)
    assert_detectable(accounts, 0.015, broken_rate=0.03)
