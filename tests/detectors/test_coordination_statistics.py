"""What only a group can show: exact values on hand-made rows, and the laws they obey."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from kdguard.detectors.query_patterns.coordination import STATISTICS
from kdguard.detectors.query_patterns.coordination.alike import across_owners
from kdguard.detectors.query_patterns.coordination.one_frame import OneFrame
from kdguard.detectors.query_patterns.coordination.one_meaning import OneMeaning
from kdguard.detectors.query_patterns.coordination.one_origin import OneOrigin
from kdguard.detectors.query_patterns.coordination.one_technique import OneTechnique
from kdguard.detectors.query_patterns.coordination.synchrony import Synchrony
from kdguard.features.session import Rows
from kdguard.scoring.groups.pooled import HalfOne

DAY_US = 86_400_000_000


def half(group: list[int], unit: list[int], **columns: object) -> HalfOne:
    """Rows of groups; columns not given are empty."""
    n = len(group)
    values: dict[str, Any] = {}
    for item in fields(Rows):
        if item.name == "signs":
            values[item.name] = np.zeros((n, 16), np.uint8)
        elif item.name in {"has_text"}:
            values[item.name] = np.ones(n, np.bool_)
        elif item.name in {
            "head",
            "tail",
            "text",
            "system",
            "subject",
            "network",
            "key",
            "tls",
            "user_agent",
        }:
            values[item.name] = np.zeros(n, np.uint64)
        else:
            values[item.name] = np.zeros(n, np.int64)
    values["text"] = np.arange(1, n + 1, dtype=np.uint64)
    payment = np.zeros(n, np.uint64)
    for name, given in columns.items():
        if name == "payment":
            payment = np.asarray(given, np.uint64)
        else:
            values[name] = np.asarray(given, values[name].dtype)
    groups = max(group) + 1 if group else 0
    return HalfOne(Rows(**values), np.array(group), np.array(unit, np.uint64), payment, groups)


def test_a_frame_shared_by_every_owner_has_chance_one() -> None:
    rows = half([0] * 6, [1, 1, 2, 2, 3, 3], head=[9] * 6)
    assert OneFrame().measure(rows) == pytest.approx([1.0])


def test_what_one_owner_repeats_to_itself_does_not_count() -> None:
    rows = half([0] * 4, [1, 1, 2, 2], head=[5, 5, 6, 6])
    assert OneFrame().measure(rows) == pytest.approx([0.0])


def test_a_copied_benchmark_is_no_shard() -> None:
    """Equal texts are taken off: only frames with contents of their own remain."""
    rows = half([0] * 4, [1, 1, 2, 2], head=[5] * 4, text=[7, 8, 7, 8])
    assert OneFrame().measure(rows) == pytest.approx([0.5])


def test_owners_weigh_the_same_whatever_their_volume() -> None:
    light = half([0] * 2, [1, 2], head=[5, 5])
    heavy = half([0] * 51, [1] * 50 + [2], head=[5] * 25 + [6] * 25 + [5])
    assert across_owners(light, light.rows.head) == pytest.approx([1.0])
    assert across_owners(heavy, heavy.rows.head) == pytest.approx([0.5])


def test_groups_do_not_leak_into_each_other() -> None:
    rows = half([0, 0, 1, 1, 2], [1, 2, 1, 3, 4], head=[5, 5, 5, 6, 5])
    measured = OneFrame().measure(rows)
    assert measured[:2] == pytest.approx([1.0, 0.0])
    assert np.isnan(measured[2])  # one owner alone can share nothing


def test_one_technique_needs_the_same_technique() -> None:
    same = half([0] * 4, [1, 1, 2, 2], margin=[500] * 4, technique=[2] * 4, familiarity=[2000] * 4)
    other = half([0] * 4, [1, 1, 2, 2], margin=[500] * 4, technique=[2, 2, 3, 3], familiarity=[2000] * 4)
    assert OneTechnique().measure(same) == pytest.approx([1.0])
    assert OneTechnique().measure(other) == pytest.approx([0.0])


def test_meaning_is_unbiased_for_unrelated_prompts() -> None:
    rng = np.random.default_rng(0)
    rows = half([0] * 400, list(range(400)), signs=rng.integers(0, 256, (400, 16), dtype=np.uint8))
    # Standard error of the mean over pairs is about 1 / sqrt(128 * 400 * 399 / 2) = 3e-4.
    assert abs(OneMeaning().measure(rows)[0]) < 2e-3


def test_origin_is_the_strongest_of_card_key_and_network() -> None:
    rows = half([0] * 3, [1, 2, 3], payment=[4, 4, 4], network=[7, 8, 9])
    assert OneOrigin().measure(rows) == pytest.approx([1.0])
    assert OneOrigin().supporting


def test_common_bursts_stand_out_of_shifted_days_and_common_hours_do_not() -> None:
    rng = np.random.default_rng(1)
    owners = np.repeat(np.arange(1, 31), 20)
    bursts = rng.integers(0, 30, 12) * DAY_US + rng.integers(0, DAY_US, 12)
    together = bursts[rng.integers(12, size=600)] + rng.integers(0, 30_000_000, 600)
    office = rng.integers(0, 30, 600) * DAY_US + 9 * 3_600_000_000 + rng.integers(0, 3_600_000_000, 600)
    both = half(
        [0] * 600 + [1] * 600,
        [*owners, *owners],
        time_us=np.concatenate([together, office]) + DAY_US * 20_000,
    )
    measured = Synchrony().measure(both)
    assert measured[0] > 3.0
    assert abs(measured[1]) < 0.7


def test_no_time_is_no_synchrony() -> None:
    rows = half([0] * 4, [1, 2, 3, 4], time_us=[np.iinfo(np.int64).min] * 4)
    assert np.isnan(Synchrony().measure(rows)).all()


@pytest.mark.parametrize("statistic", STATISTICS, ids=lambda item: item.name)
def test_scores_grow_with_the_measure_and_never_punish(statistic: object) -> None:
    values, units = np.array([0.0, 0.2, 0.9]), np.full(3, 40)
    scored = statistic.score(values, units)  # type: ignore[attr-defined]
    assert scored[0] == 0.0
    assert (np.diff(scored) > 0).all()
    assert statistic.explain(0.5)  # type: ignore[attr-defined]


@pytest.mark.parametrize("statistic", STATISTICS, ids=lambda item: item.name)
def test_order_of_rows_changes_nothing(statistic: object) -> None:
    rng = np.random.default_rng(2)
    n = 60
    columns = {
        "head": rng.integers(1, 4, n),
        "margin": rng.integers(-500, 500, n),
        "technique": rng.integers(0, 3, n),
        "time_us": DAY_US * 20_000 + rng.integers(0, DAY_US, n),
        "payment": rng.integers(1, 4, n),
        "signs": rng.integers(0, 256, (n, 16), dtype=np.uint8),
    }
    group, unit = np.sort(rng.integers(0, 3, n)), rng.integers(1, 9, n)
    order = rng.permutation(n)
    plain = statistic.measure(half(group.tolist(), unit.tolist(), **columns))  # type: ignore[attr-defined]
    text = np.arange(1, n + 1)[order]
    mixed_columns = {name: np.asarray(value)[order] for name, value in columns.items()} | {"text": text}
    mixed = statistic.measure(half(group[order].tolist(), unit[order].tolist(), **mixed_columns))  # type: ignore[attr-defined]
    np.testing.assert_allclose(mixed, plain, rtol=1e-9)
