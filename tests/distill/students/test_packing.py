"""Packing keeps every document whole and apart, and changes no loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.distill.students.data import Document, TrainingData, check_data, from_counts, from_topk
from kdguard.distill.students.engine import Engine
from kdguard.distill.students.packing import best_fit, pack
from kdguard.distill.students.plan import Mix, Plan, Slot
from kdguard.errors import TrainingError
from tests.distill.students.made import LENGTH, SHAPE, VOCAB, data, document


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=60))
def test_best_fit_fills_rows_without_overflow(sizes: list[int]) -> None:
    rows = best_fit(np.array(sizes), 24)
    filled = np.bincount(rows, weights=sizes)
    assert filled.max() <= 24
    assert sorted(set(rows)) == list(range(rows.max() + 1))
    assert len(filled) <= max(1, np.ceil(11 / 9 * np.ceil(sum(sizes) / 24) + 1), len(sizes) / 2 + 1)
    assert len(filled) < 2 or filled.sum() / len(filled) >= 12  # no two rows could be one


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_every_document_stands_whole_in_one_row(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    documents = [document(rng, soft=["none", "topk"][int(rng.integers(2))]) for _ in range(count)]
    packed = pack(documents, LENGTH)
    found = sorted(key(*each) for each in unpacked(packed))
    assert found == sorted(
        key(each.tokens, each.weights * (np.arange(len(each.tokens)) > 0)) for each in documents
    )
    assert packed.source_tokens.sum() == packed.supervised
    assert not packed.cut


def key(tokens: np.ndarray, weights: np.ndarray) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return tuple(tokens.tolist()), tuple(weights.tolist())


def unpacked(packed: TrainingData) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tokens and weights of every document, checked to be contiguous and numbered from 0."""
    found = []
    for row in range(packed.rows):
        for number in range(packed.documents[row].max() + 1):
            places = np.flatnonzero(packed.documents[row] == number)
            assert (np.diff(places) == 1).all()
            assert packed.positions[row, places].tolist() == list(range(len(places)))
            found.append((packed.tokens[row, places], packed.weights[row, places]))
    return found


def test_soft_targets_stay_with_their_tokens() -> None:
    packed = data(soft="topk")
    assert packed.soft is not None
    assert packed.soft_rows is not None
    rows, places = np.nonzero(packed.soft_rows >= 0)
    first = packed.soft.ids[packed.soft_rows[rows, places], 0]
    np.testing.assert_array_equal(
        first, packed.tokens[rows, places]
    )  # made so: the true token is the likeliest
    assert len(rows) == packed.supervised == len(packed.soft.tail)


def test_the_loss_of_a_packed_batch_is_that_of_the_documents() -> None:
    rng = np.random.default_rng(3)
    documents = [document(rng, soft="topk") for _ in range(24)]
    together = pack(documents, LENGTH)
    apart = [pack([each], LENGTH) for each in documents]
    assert together.rows < 16
    mix = Mix(text=0.4, soft=0.6, temperature=2.0)
    packed = loss_sums(together, mix)
    one_by_one = sum(loss_sums(each, mix) for each in apart)
    np.testing.assert_allclose(packed, one_by_one, rtol=1e-5)


def loss_sums(given: TrainingData, mix: Mix) -> np.ndarray:
    """Summed text and soft losses of a fresh student on all rows at once."""
    plan = Plan(steps=1, rows=given.rows)
    engine = Engine(SHAPE, [Slot(name="a", data=given, mix=mix)], plan, torch.device("cpu"))
    engine.step(0)
    reading = engine.read()
    return np.array([reading.text[0], reading.soft[0]]) * given.weights.sum()


def test_what_does_not_fit_loses_its_end_or_is_left_out() -> None:
    long = Document(np.arange(50, dtype=np.int32), np.ones(50, np.float32))
    late = Document(np.arange(50, dtype=np.int32), (np.arange(50) > 45).astype(np.float32))
    packed = pack([long, late], LENGTH)
    assert (packed.rows, packed.cut, packed.supervised) == (1, 2, LENGTH - 1)
    with pytest.raises(TrainingError, match="none of 1 documents has a supervised token within 32 tokens"):
        pack([late], LENGTH)


def test_topk_and_counts_become_distributions() -> None:
    ids = np.array([[4, 7, -1], [3, -1, -1]], np.int32)
    soft = from_topk(ids, np.log(np.array([[0.5, 0.25, 0.125], [0.9, 0.05, 0.01]], np.float32)))
    np.testing.assert_allclose(soft.tail, [0.25, 0.1], atol=1e-6)
    assert soft.logprobs[0, 2] == -np.inf
    counted = from_counts(np.array([[4, 7, -1]], np.int32), np.array([[3, 1, 0]], np.int32))
    np.testing.assert_allclose(np.exp(counted.logprobs[0, :2]), [0.75, 0.25])
    assert (counted.tail == 0).all()
    assert counted.ids[0, 2] == -1


def test_bad_targets_are_refused() -> None:
    with pytest.raises(TrainingError, match="names a token twice"):
        from_topk(np.array([[4, 4]], np.int32), np.log(np.array([[0.5, 0.25]], np.float32)))
    with pytest.raises(TrainingError, match="must be log-probabilities"):
        from_topk(np.array([[4, 5]], np.int32), np.array([[0.5, 0.25]], np.float32))
    with pytest.raises(TrainingError, match="one weight a token"):
        Document(np.array([1, 2], np.int32), np.array([1], np.float32))
    with pytest.raises(TrainingError, match="names token 63, the student's vocabulary has 60"):
        check_data(data(), 60)
    check_data(data(), VOCAB)


def test_a_digest_sees_every_change() -> None:
    one, same, other, soft = data(0), data(0), data(1), data(0, soft="topk")
    assert one.digest() == same.digest()
    assert len({one.digest(), other.digest(), soft.digest()}) == 3
