"""Pieces of one campaign become one group, hangers-on join it, strangers do not; likeness bounds what a group shows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from kdguard.scoring.groups.form import Graph, grown
from kdguard.scoring.groups.habits import Habits
from kdguard.scoring.groups.merge import ALIKE, UNLIKE, merged
from kdguard.scoring.groups.score import POOLED_MOST, SUPPORT, bounded
from kdguard.scoring.groups.ties import Pairs


def habits(meaning: np.ndarray) -> Habits:
    n = len(meaning)
    codes, zeros = np.arange(n, dtype=np.uint64), np.zeros(n, np.int64)
    return Habits(
        codes,
        np.arange(n),
        codes,
        np.full(n, 10),
        np.zeros((n, 13)),
        meaning.astype(np.float32),
        zeros,
        zeros,
    )


def crowd(rng: np.random.Generator, centres: list[int], each: int = 12, strangers: int = 60) -> np.ndarray:
    """Owners around the given directions of meaning, then strangers in directions of their own."""
    rows = rng.normal(0, 0.1, (len(centres) * each + strangers, 128))
    for place, centre in enumerate(centres):
        rows[place * each : (place + 1) * each, centre] += 1.0
    for place in range(len(centres) * each, len(rows)):
        rows[place, rng.integers(40, 128)] += 1.0
    return rows


def test_pieces_that_ask_alike_are_one_and_others_stay_apart() -> None:
    rows = habits(crowd(np.random.default_rng(0), [1, 1, 1, 9]))
    pieces = [np.arange(12), np.arange(12, 24), np.arange(24, 36), np.arange(36, 48)]
    assert merged(rows, pieces) == ((0, 1, 2), (3,))


def test_a_piece_that_holds_strangers_is_left_alone() -> None:
    rows = habits(crowd(np.random.default_rng(1), [1, 1]))
    tainted = np.concatenate([np.arange(12, 16), np.arange(24, 36)])
    assert merged(rows, [np.arange(12), tainted]) == ((0,), (1,))


@pytest.mark.parametrize("pieces", [[], [np.arange(3)]])
def test_nothing_to_join(pieces: list[np.ndarray]) -> None:
    rows = habits(crowd(np.random.default_rng(2), [1]))
    assert merged(rows, pieces) == tuple((at,) for at in range(len(pieces)))


def tied(edges: list[tuple[int, int, float]], threshold: float = 5.0) -> Graph:
    source, target, weight = (np.array(column) for column in zip(*edges, strict=True))
    return Graph(Pairs(source, target), weight.astype(float), weight[:, None].astype(float), threshold)


def test_an_owner_tied_like_a_member_joins_and_one_on_a_thread_does_not() -> None:
    clique = [(a, b, 7.0) for a in range(8) for b in range(a + 1, 8)]
    joins = [(a, 8, 7.0) for a in range(3)]
    thread = [(0, 9, 7.0)]
    weak = [(0, 10, 5.0), (1, 10, 5.0)]
    (group,) = grown(tied([*clique, *joins, *thread, *weak]), [np.arange(8)], 12)
    assert group.tolist() == list(range(9))


def test_owners_change_sides_to_where_most_of_their_ties_are() -> None:
    large = [(a, b, 7.0) for a in range(8) for b in range(a + 1, 8)]
    small = [(8, 9, 6.0), (9, 10, 6.0), (8, 10, 6.0)]
    across = [(a, b, 7.0) for a in range(5) for b in (8, 9, 10)]
    first, second = grown(tied([*large, *small, *across]), [np.arange(8), np.arange(8, 11)], 11)
    assert first.tolist() == list(range(11))
    assert not len(second)


def left_over(ties: int) -> tuple[list[int], list[int]]:
    """A large group, and a small one of three left over from it, each with so many weak ties to it."""
    large = [(a, b, 7.0) for a in range(12) for b in range(a + 1, 12)]
    small = [(12, 13, 5.0), (13, 14, 5.0), (12, 14, 5.0), (14, 15, 5.0), (13, 15, 5.0)]
    across = [(a, b, 5.0) for a in range(ties) for b in (12, 13, 14)]
    return tuple(
        group.tolist()
        for group in grown(tied([*large, *small, *across]), [np.arange(12), np.arange(12, 16)], 16)
    )


def test_who_is_left_over_goes_back_to_the_larger_group_and_its_hanger_on_stays_behind() -> None:
    first, second = left_over(4)
    assert first == list(range(15))
    assert second == [15]


def test_two_groups_with_a_few_ties_between_them_stay_two() -> None:
    assert left_over(2) == (list(range(12)), [12, 13, 14, 15])


def test_growing_nothing_gives_nothing() -> None:
    assert grown(tied([(0, 1, 9.0)]), [], 2) == ()


def test_one_look_alike_among_strangers_carries_no_group() -> None:
    supporting, across = np.array([False, True]), np.ones(3, np.bool_)
    terms = np.array([[0.0, 5.0], [1.0, 5.0], [9.0, 2.0]])
    pooled, held = bounded(np.array([9.0, 9.0, 9.0]), terms, supporting, across)
    assert pooled.tolist() == [0.0, 1.0, POOLED_MOST]
    assert held[:, 1].tolist() == [0.0, SUPPORT, 2.0]


def test_ordinary_prompts_take_nothing_away() -> None:
    pooled, held = bounded(
        np.array([-3.0, np.nan]), np.array([[4.0], [4.0]]), np.zeros(1, np.bool_), np.ones(2, np.bool_)
    )
    assert pooled[0] == 0.0
    assert np.isnan(pooled[1])
    assert held.tolist() == [[4.0], [4.0]]


def test_a_card_within_one_owner_says_nothing() -> None:
    _, held = bounded(np.zeros(1), np.array([[3.0, 3.0]]), np.array([False, True]), np.zeros(1, np.bool_))
    assert held.tolist() == [[3.0, 0.0]]


def test_many_pieces_of_many_campaigns_are_joined_two_at_a_time() -> None:
    """As joining by the whole table of likenesses would, whose memory is quadratic in groups."""
    rng = np.random.default_rng(4)
    sizes = rng.integers(3, 9, 40)
    centres = rng.normal(0, 0.3, (20, 128))[rng.integers(0, 20, 40)]
    rows = habits(np.repeat(centres, sizes, axis=0) + rng.normal(0, 0.15, (int(sizes.sum()), 128)))
    pieces = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    joined = merged(rows, pieces)
    assert joined == by_the_whole_table(rows, pieces)
    assert len(joined) < len(pieces)


def by_the_whole_table(rows: Habits, pieces: list[np.ndarray]) -> tuple[tuple[int, ...], ...]:
    profile = rows.meaning.astype(np.float64) - np.median(rows.meaning.astype(np.float64), axis=0)
    profile = profile / np.sqrt(np.mean(np.square(profile).sum(axis=1)))
    parts: list[tuple[int, ...]] = [(at,) for at in range(len(pieces))]

    def product(one: tuple[int, ...], other: tuple[int, ...]) -> float:
        left, right = (np.concatenate([pieces[at] for at in part]) for part in (one, other))
        table = profile[left] @ profile[right].T
        if one != other:
            return float(table.mean())
        return float((table.sum() - np.trace(table)) / (len(left) * (len(left) - 1)))

    while True:
        within = [product(part, part) for part in parts]
        best, chosen = ALIKE, None
        for a, b in combinations(range(len(parts)), 2):
            if min(within[a], within[b]) > 0:
                scale = max(np.sqrt(within[a] * within[b]), max(within[a], within[b]) * UNLIKE / ALIKE)
                if product(parts[a], parts[b]) / scale > best:
                    best, chosen = product(parts[a], parts[b]) / scale, (a, b)
        if chosen is None:
            return tuple(sorted(parts))
        parts[chosen[0]] = tuple(sorted(parts[chosen[0]] + parts.pop(chosen[1])))
