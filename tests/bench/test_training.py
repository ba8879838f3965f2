"""The training benchmark on its smallest size: every loop that needs no other environment is sound and is compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.bench.training.compare import TOLERANCE, compare
from tests.bench.training.contenders import Contender, contenders
from tests.bench.training.data import SIZES, write_exchange
from tests.bench.training.intervals import median_interval
from tests.bench.training.reference import truth

SIZE = replace(SIZES["micro"], rows=2, fleet_micro_rows=2, warm=2, most_steps=200)


def test_our_loop_and_a_plain_one_agree_with_the_reference_and_are_timed() -> None:
    chosen = [each for each in contenders("micro", "cpu", None) if each.name in ("ours", "plain, packed")]
    lines = list(compare(SIZES["micro"], chosen, "cpu", turns=2, turn_s=0.05))
    rows = [line for line in lines if "loop" in line]
    assert [row["loop"] for row in rows] == ["ours", "plain, packed"]
    assert not any("void" in row for row in rows)
    assert all(row["supervised_tokens_per_s"][0] > 0 for row in rows)
    (ratio,) = [line for line in lines if "faster" in line]
    assert (ratio["faster"], ratio["than"]) == ("ours", "plain, packed")
    assert ratio["ratio"][1] <= ratio["ratio"][0] <= ratio["ratio"][2]


def test_a_loop_that_cannot_start_is_void_with_its_reason() -> None:
    broken = Contender("broken", "plain", ("--no-such-flag",), "offline")
    (line,) = compare(SIZES["micro"], [broken], "cpu", turns=1, turn_s=0.01)
    assert "--no-such-flag" in line["void"]


def test_the_reference_notices_a_changed_soft_target(tmp_path: Path) -> None:
    write_exchange(SIZE, tmp_path)
    before = truth(tmp_path, online=False)
    with np.load(tmp_path / "rows.npz") as file:
        held = dict(file)
    held["logprobs"] = np.roll(held["logprobs"], 1, axis=1)
    np.savez(tmp_path / "rows.npz", **held)
    after = truth(tmp_path, online=False)
    assert abs(after.norm / before.norm - 1) > 10 * TOLERANCE["float32"]


def test_the_interval_of_a_median_covers_it_and_shrinks() -> None:
    rng = np.random.default_rng(0)
    few, many = (
        median_interval(rng.normal(5, 1, 10).tolist()),
        median_interval(rng.normal(5, 1, 1_000).tolist()),
    )
    assert few.low <= few.median <= few.high
    assert many.high - many.low < 0.3 < few.high - few.low
    assert many.median == pytest.approx(5, abs=0.15)
