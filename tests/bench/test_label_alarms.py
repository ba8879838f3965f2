"""Alarms that exchangeable suspects give, against ranks drawn one by one; and lines told apart by teacher."""

from __future__ import annotations

import numpy as np

from tests.bench.label_alarms import again, exchangeable, table


def test_exchangeable_alarms_are_those_of_ranks() -> None:
    """Mean and variance over 2,000 drawn counts; each within four standard errors of 20,000, false fail below 1e-3."""
    rng, sizes, controls, alpha = np.random.default_rng(3), np.array([30, 30, 60]), 40, 0.05
    drawn = np.zeros(2_000)
    for at in range(len(drawn)):
        for size in sizes:
            among, suspects = rng.random(controls), rng.random(size)
            above = (among[None] >= suspects[:, None]).sum(axis=1)
            drawn[at] += ((1 + above) / (controls + 1) <= alpha).sum()
    usual = exchangeable(sizes, alpha, controls)
    error = drawn.std() / np.sqrt(len(drawn))
    assert abs(drawn.mean() - usual.mean()) < 4 * error
    assert abs(drawn.std() / usual.std() - 1) < 4 / np.sqrt(len(drawn))


def test_lumps_by_teacher_widen_the_interval() -> None:
    spread = again(np.array([3, 3, 3, 3]), np.full(4, 60))
    lumped = again(np.array([12, 0, 0, 0]), np.full(4, 60))
    assert spread == (0.05, 0.05)
    assert lumped[0] == 0
    assert lumped[1] > 0.1


def test_a_declaration_decides_which_ranks_count() -> None:
    line = {"role": "independent", "what": "other rows", "data": "made", "seed": 1, "share": 1.0}
    lines = [line | {"p": {"100": [[0.005, 0.5, 1.0], [0.6, 0.5, 1.0]]}}]
    told = list(table(lines, controls=200))
    declared = next(row for row in told if row.startswith("| private rows: other rows | 2 | 0.01 |"))
    without = next(row for row in told if row.startswith("| not declared: other rows | 2 | 0.01 |"))
    assert "| 1 | 0.500" in declared
    assert "| 0 | 0.000" in without
