"""State as it is stored and shipped: nothing is lost, and an account takes what DESIGN section 4 allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdguard.detectors import ALL, default_suite
from kdguard.errors import StateError
from kdguard.features.session import Rows
from kdguard.scan import Column, Detector, Floats, State
from kdguard.scoring.pipeline import encode_into, in_order
from kdguard.scoring.spill import Spill
from kdguard.scoring.states import account_bytes, from_arrow, to_arrow
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import load_world
from tests.contract.test_detector_laws import DETECTORS, fold, same
from tests.detectors.rows import random_rows

EVERY = tuple(kind() for kind in ALL)


def at_rest(detector: Detector, state: State) -> State:
    return from_arrow([detector], through_ipc(to_arrow([detector], [state])))[0]


def through_ipc(batch: pa.RecordBatch) -> pa.RecordBatch:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch()


@lru_cache(maxsize=1)
def simulated() -> tuple[Rows, tuple[State, ...]]:
    """Rows of a tiny world, and the default suite's states after them."""
    suite = default_suite()
    with Spill() as spill:
        encode_into(spill, simulate(replace(load_world("tiny"), owners=80), seed=3).exchanges, suite.encoder)
        (rows,) = in_order(spill)
    return rows, tuple(fold(detector, rows) for detector in suite.detectors)


def requests_of(states: tuple[State, ...], rows: Rows) -> np.ndarray:
    return np.diff(np.searchsorted(rows.subject, np.append(states[0].subjects, rows.subject[-1] + 1)))


def test_an_account_under_twenty_requests_takes_a_kilobyte() -> None:
    rows, states = simulated()
    light = (requests_of(states, rows) >= 10) & (requests_of(states, rows) < 20)
    assert light.sum() >= 10
    sizes = account_bytes(to_arrow(EVERY, states))[light]
    assert sizes.max() <= 1024, f"mean {sizes.mean():.0f}, largest {sizes.max()} bytes"


@pytest.mark.parametrize("requests", [19, 20, 5_000])
def test_even_the_strangest_account_stays_within_bounds(requests: int) -> None:
    rows = random_rows(5, accounts=1, requests=requests)
    batch = to_arrow(EVERY, [fold(detector, rows) for detector in EVERY])
    assert account_bytes(batch).max() <= (1024 if requests < 20 else 16 * 1024)


def test_the_largest_counts_stay_within_bounds() -> None:
    full = [
        State(
            np.array([1], np.uint64),
            {c.name: np.full((1, c.width), np.iinfo(c.kind).max, c.kind) for c in detector.columns},
        )
        for detector in EVERY
    ]
    assert account_bytes(to_arrow(EVERY, full)).max() <= 16 * 1024


def test_account_sizes_add_to_the_batch() -> None:
    _, states = simulated()
    batch = to_arrow(EVERY, states)
    assert account_bytes(batch).sum() <= batch.get_total_buffer_size() <= account_bytes(batch).sum() + 2048


@pytest.mark.parametrize("detector", DETECTORS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), cut=st.integers(0, 120))
def test_states_come_back_whole_and_merge_like_fresh_ones(detector: Detector, seed: int, cut: int) -> None:
    rows = random_rows(seed, accounts=4, requests=30)
    left, right = (fold(detector, rows.take(part)) for part in (slice(0, cut), slice(cut, None)))
    whole = fold(detector, rows)
    assert same(at_rest(detector, whole), whole)
    assert same(at_rest(detector, detector.create()), detector.create())
    merged = detector.merge(at_rest(detector, left), at_rest(detector, right))
    assert same(merged, whole)
    assert to_arrow([detector], [merged]).equals(to_arrow([detector], [whole]))
    assert np.array_equal(detector.scores(merged), detector.scores(whole), equal_nan=True)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_extremes_of_every_column_come_back(detector: Detector) -> None:
    columns = {
        c.name: np.stack(
            [np.full(c.width, bound, c.kind) for bound in (np.iinfo(c.kind).min, 0, np.iinfo(c.kind).max)]
        )
        for c in detector.columns
    }
    state = State(np.array([1, 2, 2**64 - 1], np.uint64), columns)
    assert same(at_rest(detector, state), state)


@dataclass(frozen=True)
class Wide(Detector):
    """A detector of somebody else's, with every kind of column."""

    name: ClassVar[str] = "wide"
    outputs: ClassVar[tuple[str, ...]] = ()
    resolution: ClassVar[tuple[float, ...]] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        kinds = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
        return tuple(Column(kind, kind, 1 + at, "or") for at, kind in enumerate(kinds))

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        raise NotImplementedError

    def scores(self, state: State) -> Floats:
        raise NotImplementedError

    def explain(self, output: str, score: float) -> str:
        raise NotImplementedError


@settings(max_examples=50, deadline=None)
@given(data=st.data(), accounts=st.integers(0, 5))
def test_any_integers_come_back(data: st.DataObject, accounts: int) -> None:
    columns = {item.name: data.draw(hnp.arrays(item.kind, (accounts, item.width))) for item in Wide().columns}
    state = State(np.arange(accounts, dtype=np.uint64), columns)
    assert same(at_rest(Wide(), state), state)


def test_more_accounts_than_a_block_come_back() -> None:
    size = 10_000
    columns = {
        item.name: np.arange(size * item.width).reshape(size, -1).astype(item.kind) for item in Wide().columns
    }
    state = State(np.arange(size, dtype=np.uint64), columns)
    assert same(at_rest(Wide(), state), state)


def test_states_of_different_accounts_do_not_lie_in_one_batch() -> None:
    _, states = simulated()
    with pytest.raises(ValueError, match="same accounts"):
        to_arrow(EVERY[:2], [states[0], states[1].take(np.array([0]))])


def test_state_of_another_version_is_refused() -> None:
    _, states = simulated()
    batch = to_arrow(EVERY[:1], states[:1])

    class Later(ALL[0]):  # type: ignore[misc,valid-type]
        version = "later"

    with pytest.raises(
        StateError, match=f"must be of {ALL[0].name} later, got {ALL[0].name} {ALL[0].version}"
    ):
        from_arrow([Later()], batch)


def test_damaged_state_is_named() -> None:
    _, states = simulated()
    batch = to_arrow(EVERY[:1], states[:1])
    cut = pc.binary_slice(batch.column(1), 0, 1)
    with pytest.raises(StateError, match="damaged"):
        from_arrow(EVERY[:1], pa.RecordBatch.from_arrays([batch.column(0), cut], schema=batch.schema))


def test_single_accounts_can_be_taken_out_and_put_back() -> None:
    _, states = simulated()
    batch = to_arrow(EVERY, states)
    for at in (0, 7, len(states[0]) - 1):
        one = from_arrow(EVERY, batch.slice(at, 1))
        assert all(same(got, state.take(np.array([at]))) for got, state in zip(one, states, strict=True))
