"""The benchmarks of distillation, storage and fleets run at their smallest, and say what they are to say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdguard.distill.students.head import Targets, head_losses
from tests.bench.at_hand import dense_slope
from tests.bench.distillation.experiment import experiment
from tests.bench.distillation.judge import mean_interval
from tests.bench.distillation.setting import SETTINGS
from tests.bench.fleets import results as fleets
from tests.bench.storage import distributions, sizes, top


def test_the_experiment_tells_storage_every_kind_and_every_claim(tmp_path: Path) -> None:
    setting = replace(SETTINGS["small"], teacher_steps=30, prompts=40, tokens=1_500, heldout=10)
    lines = list(experiment(setting, tmp_path))
    assert list(experiment(setting, tmp_path)) == lines  # from what is kept
    assert [line["kinds"].keys() for line in lines[:2]] == [{"top_ids"}, {"sampled"}]
    kinds = [line for line in lines if line.get("bench") == "distillation"]
    assert [line["control"] for line in kinds] == [False] * 4 + [True] * 3
    assert all(0 <= line["agreement"][0] <= 1 and line["kl_nats"][0] > 0 for line in kinds)
    assert sum("claim" in line for line in lines) == 2 + 4 + 3


def test_dense_targets_are_the_kl_of_autograd() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    head = torch.randn(2, 11, 8, dtype=torch.float64, requires_grad=True)
    theirs = torch.randn(2, 5, 11).log_softmax(-1)
    weight = torch.rand(2, 5)
    told = Targets(
        torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5), None, theirs, None, weight, torch.ones(2, 1)
    )
    mine = head_losses(hidden, head, told, dense_slope, chunk=2).total.sum()
    gradients = torch.autograd.grad(mine, (hidden, head))
    own = torch.bmm(hidden, head.mT).log_softmax(-1)
    exact = ((theirs.exp() * (theirs - own)).sum(-1) * weight).sum()
    assert mine.item() == pytest.approx(exact.item(), rel=1e-5)
    for found, wanted in zip(gradients, torch.autograd.grad(exact, (hidden, head)), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("entropy", [0.5, 3.0])
def test_distributions_have_the_entropy_that_was_asked_for(entropy: float) -> None:
    logprobs = distributions(np.random.default_rng(0), 20, entropy)
    np.testing.assert_allclose(np.exp(logprobs).sum(1), 1)
    np.testing.assert_allclose(-(np.exp(logprobs) * logprobs).sum(1), entropy, atol=1e-3)


def test_storage_counts_every_token() -> None:
    spread = [distributions(np.random.default_rng(0), 30, 1.0) for _ in range(3)]
    found = sizes(top, 8_192, spread)
    assert (found.tokens, dict(found.kinds), found.alternatives) == (90, {"top_ids": 90}, 20)


def test_fleets_are_timed_both_ways() -> None:
    (line,) = fleets(1, (("micro", 1),))
    assert line["ratio"][0] == pytest.approx(
        line["models_per_minute_together"][0] / line["models_per_minute_alone"][0], rel=0.05
    )


def test_the_interval_over_seeds_is_student_s() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert high - mean == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert low == pytest.approx(4 - high)
