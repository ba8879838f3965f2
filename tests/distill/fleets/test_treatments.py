from __future__ import annotations

import pytest
import torch

from kdguard.distill.fleets.treatments import merged, pruned, quantised
from kdguard.errors import TrainingError

WEIGHTS = {"matrix": torch.randn(7, 11, generator=torch.Generator().manual_seed(1)), "gain": torch.rand(11)}


def test_int8_is_within_half_a_step_of_each_row() -> None:
    found = quantised(WEIGHTS)
    step = WEIGHTS["matrix"].abs().amax(1, keepdim=True) / 127
    assert ((found["matrix"] - WEIGHTS["matrix"]).abs() <= step / 2 + 1e-7).all()
    assert (found["matrix"] / step).sub((found["matrix"] / step).round()).abs().max() < 1e-4
    assert len(torch.unique(found["matrix"][0])) < 12
    assert torch.equal(found["gain"], WEIGHTS["gain"])
    assert torch.equal(quantised({"zero": torch.zeros(2, 2)})["zero"], torch.zeros(2, 2))


def test_pruning_takes_the_smallest_and_nothing_else() -> None:
    found = pruned(WEIGHTS, 0.4)["matrix"]
    gone = found == 0
    assert int(gone.sum()) == int(0.4 * 77)
    assert WEIGHTS["matrix"].abs()[gone].max() <= WEIGHTS["matrix"].abs()[~gone].min()
    assert torch.equal(found[~gone], WEIGHTS["matrix"][~gone])
    assert torch.equal(pruned(WEIGHTS, 0.0)["matrix"], WEIGHTS["matrix"])


def test_a_merger_is_the_weighted_mean() -> None:
    other = {name: value + 1 for name, value in WEIGHTS.items()}
    found = merged(WEIGHTS, other, 0.75)
    torch.testing.assert_close(found["matrix"], WEIGHTS["matrix"] + 0.25)
    torch.testing.assert_close(found["gain"], WEIGHTS["gain"] + 0.25)


def test_impossible_treatments_are_refused() -> None:
    with pytest.raises(TrainingError, match="must be in"):
        pruned(WEIGHTS, 1.0)
    with pytest.raises(TrainingError, match="must be in"):
        merged(WEIGHTS, WEIGHTS, 1.5)
    with pytest.raises(TrainingError, match="only models of one shape"):
        merged(WEIGHTS, {"matrix": WEIGHTS["matrix"]}, 0.5)
