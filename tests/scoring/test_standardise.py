from __future__ import annotations

import numpy as np
import pytest

from kdguard.scan import CHECKPOINTS, Trajectories
from kdguard.scoring.standardise import contributions, fit_scale, fuse


def rows(scores: np.ndarray, checkpoint: int = 0) -> Trajectories:
    size = len(scores)
    return Trajectories(
        np.arange(size, dtype=np.uint64), np.full(size, checkpoint), np.zeros(size, np.int64), scores
    )


def test_rarity_is_about_minus_log_of_the_share_above(rng: np.random.Generator) -> None:
    scale = fit_scale(rows(rng.standard_normal((4000, 1))))
    probes = np.quantile(rng.standard_normal(200_000), [0.5, 0.9, 0.99, 0.999])[:, None]
    rarity = scale.rarity(rows(probes))[:, 0]
    assert rarity[:3] == pytest.approx([0.3, 1, 2], abs=0.25)
    # A normal tail, squashed, falls faster than the exponential that stands in for it: rarity errs low.
    assert 2.2 < rarity[3] < 3.2


def test_rarity_orders_extremes_and_is_neutral_without_a_score(rng: np.random.Generator) -> None:
    scale = fit_scale(rows(rng.standard_normal((500, 1))))
    rarity = scale.rarity(rows(np.array([[10.0], [100.0], [1000.0], [np.nan], [-50.0]])))[:, 0]
    assert rarity[0] < rarity[1] < rarity[2]
    assert rarity[3] == rarity[4] == 0


def test_a_value_that_everybody_has_is_not_rare() -> None:
    scale = fit_scale(rows(np.zeros((200, 1))))
    assert scale.rarity(rows(np.zeros((3, 1)))).max() < 0.31
    assert scale.rarity(rows(np.ones((3, 1)))).min() > 1
    coarse = fit_scale(rows(np.zeros((200, 1))), resolution=np.array([1.0]))
    assert coarse.rarity(rows(np.ones((3, 1)))).max() < scale.rarity(rows(np.ones((3, 1)))).min()


def test_checkpoints_with_few_references_borrow(rng: np.random.Generator) -> None:
    many, few = rng.standard_normal((300, 2)), 9 + rng.standard_normal((10, 2))
    joined = Trajectories.concatenate([rows(many, 0), rows(few, 1)], 2)
    scale = fit_scale(joined)
    assert np.array_equal(scale.centre[0], scale.centre[1])
    assert len(scale.centre) == len(CHECKPOINTS)


def test_contributions_add_to_the_fused_score(rng: np.random.Generator) -> None:
    rarity, weights = rng.exponential(1, (50, 4)), np.array([0.4, 0.3, 0.2, 0.1])
    shares = contributions(rarity, weights)
    assert shares.sum(axis=1) == pytest.approx(fuse(rarity, weights))


def test_more_of_anything_never_lowers_the_score(rng: np.random.Generator) -> None:
    rarity, weights = rng.exponential(1, (50, 4)), np.array([0.4, 0.3, 0.2, 0.1])
    for at in range(4):
        more = rarity.copy()
        more[:, at] += 0.5
        assert (fuse(more, weights) > fuse(rarity, weights)).all()


def test_too_few_references_are_refused() -> None:
    with pytest.raises(ValueError, match="30 references with 10 requests, got 12"):
        fit_scale(rows(np.zeros((12, 1))))
