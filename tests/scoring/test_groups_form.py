"""Forming groups: rarity, density, owners collapsed, and ranks that keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from kdguard.errors import BaselineError
from kdguard.scoring.groups.find import SHARES, select
from kdguard.scoring.groups.form import Graph, groups_in
from kdguard.scoring.groups.outcome import compare
from kdguard.scoring.groups.rarity import LEVELS, Rarity, tail_levels
from kdguard.scoring.groups.reference import GroupReference
from kdguard.scoring.groups.store import from_arrays, to_arrays
from kdguard.scoring.groups.ties import Pairs


def rarity(counts: list[int], owners: int = 1000) -> Rarity:
    codes = {"head": np.arange(1, len(counts) + 1, dtype=np.uint64)}
    return Rarity(
        owners, codes, {"head": np.array(counts)}, np.zeros((0, 13)), *(np.asarray(LEVELS, np.float64),) * 2
    )


def reference(score: np.ndarray, *, owner: int = 0) -> GroupReference:
    n = len(score)
    return GroupReference(
        rarity=rarity([2]),
        score=score,
        size=np.full(n, 5),
        across=np.ones(n, np.bool_),
        log_owners=np.full(n, 200),
        member_owner=np.arange(n, dtype=np.uint64) + np.uint64(owner),
        member_group=np.arange(n),
        draw_score=np.empty(0),
        draw_size=np.empty(0, np.int64),
    )


def graph(edges: list[tuple[int, int, float]], threshold: float = 5.0) -> Graph:
    source, target, weight = (np.array(column) for column in zip(*edges, strict=True))
    return Graph(Pairs(source, target), weight.astype(float), weight[:, None].astype(float), threshold)


def test_a_common_value_weighs_next_to_nothing() -> None:
    known, missing = rarity([2, 2, 2, 900]).weights("head")
    assert known[3] < 0.2
    assert known[0] > known[3]
    assert missing >= known[0]


def test_missing_values_weigh_less_where_coincidences_are_many() -> None:
    _, few = rarity([2] * 3).weights("head")
    _, many = rarity([2] * 3000).weights("head")
    assert few > many + 2


def test_tail_levels_are_quantiles_of_all_pairs() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    levels = tail_levels(values, len(values))
    assert levels[4] == pytest.approx(1.2816, abs=0.02)  # one in ten
    assert (np.diff(levels) > 0).all()


def test_density_takes_the_campaign_whole_and_leaves_the_hanger_on() -> None:
    clique = [(a, b, 9.0) for a in range(40) for b in range(a + 1, 40)]
    thread = [(40, 0, 5.1), (40, 1, 5.1), (41, 40, 5.1)]
    found = groups_in(graph(clique + thread), 3)
    assert found[0].tolist() == list(range(40))
    assert all(40 not in group for group in found[:1])


def test_two_campaigns_joined_by_a_thread_stay_two() -> None:
    first = [(a, b, 9.0) for a in range(20) for b in range(a + 1, 20)]
    second = [(a, b, 8.0) for a in range(20, 40) for b in range(a + 1, 40)]
    found = groups_in(graph([*first, *second, (0, 20, 5.1)]), 3)
    assert sorted(group.tolist() for group in found) == [list(range(20)), list(range(20, 40))]


def test_pairs_are_listed_once_and_never_with_oneself() -> None:
    pairs = Pairs.of(np.array([3, 1, 2, 2]), np.array([1, 3, 2, 0]), 5)
    assert list(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True)) == [(0, 2), (1, 3)]


def test_p_values_of_exchangeable_groups_are_valid() -> None:
    """The share of p <= .05 among honest groups must not refute 5 % (false-fail rate 1e-6)."""
    rng = np.random.default_rng(3)
    hits = trials = 0
    for _ in range(400):
        ranks = reference(5 + rng.normal(size=39), owner=10_000).rank(
            5 + rng.normal(size=5), np.full(5, 5), np.ones(5, np.bool_), [np.array([7], np.uint64)] * 5, 200
        )
        hits += int((ranks.p_value <= 0.05).sum())
        trials += 5
    assert binomtest(hits, trials, 0.05, alternative="greater").pvalue > 1e-6
    assert hits > 0


def test_p_never_passes_its_floor_and_reviews_may() -> None:
    ranks = reference(np.linspace(-1, 2, 60), owner=10_000).rank(
        np.array([9.0]), np.array([50]), np.ones(1, np.bool_), [np.array([7], np.uint64)], 200
    )
    assert ranks.p_value[0] == pytest.approx(1 / 61)
    assert ranks.p_value[0] >= ranks.p_floor[0]
    assert ranks.p_pooled[0] < 1e-3
    assert ranks.references[0] == 60


def test_nobody_is_ranked_among_its_own_owner() -> None:
    scores = np.zeros(10)
    scores[4] = 99.0
    own = reference(scores).rank(
        np.array([50.0]), np.array([5]), np.ones(1, np.bool_), [np.array([4], np.uint64)], 200
    )
    other = reference(scores).rank(
        np.array([50.0]), np.array([5]), np.ones(1, np.bool_), [np.array([77], np.uint64)], 200
    )
    assert own.p_value[0] == pytest.approx(1 / 10)
    assert other.p_value[0] == pytest.approx(2 / 11)


def test_a_log_is_judged_by_groups_from_logs_of_its_size() -> None:
    both = reference(np.concatenate([np.zeros(30), np.full(30, 10.0)]), owner=10_000)
    sizes = np.concatenate([np.full(30, 200), np.full(30, 3200)])
    both = GroupReference(**{**{k: getattr(both, k) for k in both.__dataclass_fields__}, "log_owners": sizes})
    args = (np.array([5.0]), np.array([5]), np.ones(1, np.bool_), [np.array([7], np.uint64)])
    assert both.rank(*args, 250).p_value[0] == pytest.approx(1 / 31)
    assert both.rank(*args, 3000).p_value[0] == pytest.approx(1.0)


def test_selection_spends_no_more_than_the_rate() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)
    rng = np.random.default_rng(4)
    false_logs = sum(select(rng.uniform(size=30), rng.uniform(size=30) < 0.5, 0.1).any() for _ in range(2000))
    assert binomtest(int(false_logs), 2000, 0.1, alternative="greater").pvalue > 1e-6
    assert false_logs > 0


def test_selection_leaves_out_what_was_not_tested() -> None:
    assert select(np.array([np.nan, 1e-9]), np.array([True, True]), 0.1).tolist() == [False, True]


def test_reference_survives_the_file() -> None:
    before = reference(np.linspace(0, 1, 7))
    after = from_arrays(*to_arrays(before))
    assert after.rarity.codes.keys() == before.rarity.codes.keys()
    assert after.across.dtype == np.bool_
    for name in ("score", "size", "across", "log_owners", "member_owner", "member_group", "draw_score"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_groups_of_another_procedure_are_refused() -> None:
    arrays, header = to_arrays(reference(np.zeros(3)))
    with pytest.raises(BaselineError, match="must be learnt by procedure"):
        from_arrays(arrays, {**header, "procedure": 1})


def test_outcome_counts_found_false_and_pure() -> None:
    campaign = {"c": [f"a{i}" for i in range(10)]}
    outcome = compare([[f"a{i}" for i in range(6)] + ["x"], ["y", "z", "a9"]], campaign)
    assert outcome.found == {"c": True}
    assert outcome.false == 1
    assert outcome.purity == (6 / 7,)
    assert outcome.false_share == 0.5
    assert outcome.coverage["c"] == pytest.approx(0.7)
