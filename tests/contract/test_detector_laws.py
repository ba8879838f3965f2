"""Laws of DESIGN section 4, for every detector: cutting and spreading a log changes no byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.detectors import ALL
from kdguard.features.session import Rows
from kdguard.scan import CHECKPOINTS, Detector, State, Trajectories, follow, output_names
from tests.detectors.rows import random_rows

DETECTORS = [pytest.param(kind(), id=kind.name) for kind in ALL]


def same(left: State, right: State) -> bool:
    return bool(
        np.array_equal(left.subjects, right.subjects)
        and left.columns.keys() == right.columns.keys()
        and all(
            left.columns[name].dtype == right.columns[name].dtype
            and np.array_equal(left.columns[name], right.columns[name])
            for name in left.columns
        )
    )


def fold(detector: Detector, rows: Rows) -> State:
    return detector.update(detector.create(), rows)


@pytest.mark.parametrize("detector", DETECTORS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), cut=st.integers(0, 120), second=st.integers(0, 120))
def test_segments_merge_to_the_whole(detector: Detector, seed: int, cut: int, second: int) -> None:
    rows = random_rows(seed, accounts=4, requests=30)
    first, last = sorted((cut, second))
    parts = [
        fold(detector, rows.take(slice(a, b))) for a, b in ((0, first), (first, last), (last, len(rows)))
    ]
    whole = fold(detector, rows)
    assert same(detector.merge(detector.merge(parts[0], parts[1]), parts[2]), whole)
    assert same(detector.merge(parts[0], detector.merge(parts[1], parts[2])), whole)
    assert same(detector.merge(parts[2], detector.merge(parts[0], parts[1])), whole)
    assert same(detector.merge(detector.create(), whole), whole)
    assert same(detector.merge(whole, detector.create()), whole)


@pytest.mark.parametrize("detector", DETECTORS)
def test_pooling_accounts_does_not_depend_on_their_order(
    detector: Detector, rng: np.random.Generator
) -> None:
    state = fold(detector, random_rows(3, accounts=6, requests=20))
    groups = np.array([1, 2, 1, 2, 1, 2], np.uint64)
    order = rng.permutation(6)
    shuffled = State(state.subjects[order], {name: values[order] for name, values in state.columns.items()})
    assert same(detector.pool(state, groups), detector.pool(shuffled, groups[order]))


@pytest.mark.parametrize("detector", DETECTORS)
def test_scores_name_every_output_and_survive_nobody(detector: Detector) -> None:
    assert detector.scores(detector.create()).shape == (0, len(detector.outputs))
    state = fold(detector, random_rows(5, accounts=3, requests=40))
    scores = detector.scores(state)
    assert scores.shape == (3, len(detector.outputs))
    assert not np.isinf(scores).any()
    assert len(detector.resolution) == len(detector.outputs)
    for output in detector.outputs:
        assert detector.explain(output, 0.5)


@pytest.mark.parametrize("detector", DETECTORS)
def test_state_holds_integers_only(detector: Detector) -> None:
    state = fold(detector, random_rows(5, accounts=3, requests=40))
    assert all(np.issubdtype(values.dtype, np.integer) for values in state.columns.values())


def test_state_of_an_account_is_small() -> None:
    rows = random_rows(5, accounts=1, requests=5000)
    size = sum(fold(kind(), rows).bytes_per_subject for kind in ALL)
    assert size <= 16 * 1024, f"{size} bytes an account"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), chunk=st.integers(1, 400))
def test_trajectories_do_not_depend_on_chunks(seed: int, chunk: int) -> None:
    detectors = [kind() for kind in ALL]
    rows = random_rows(seed, accounts=5, requests=63)
    width = len(output_names(detectors))
    whole = Trajectories.concatenate(list(follow([rows], detectors)), width)
    cut = [rows.take(slice(at, at + chunk)) for at in range(0, len(rows), chunk)]
    parts = Trajectories.concatenate(list(follow(cut, detectors)), width)
    assert np.array_equal(whole.subject, parts.subject)
    assert np.array_equal(whole.checkpoint, parts.checkpoint)
    assert whole.scores.tobytes() == parts.scores.tobytes()
    reached = [count for count in CHECKPOINTS if count <= 63]
    assert len(whole.subject) == 5 * len(reached)
