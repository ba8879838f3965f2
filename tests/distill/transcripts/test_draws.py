"""Sampled soft labels: unbiased, seeded, and never of an impossible token."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from kdguard.distill.transcripts.draws import draw_soft_labels
from kdguard.errors import TranscriptError


def test_counts_follow_the_distribution() -> None:
    """False-fail rate at most 1e-6 over the seed (systematic draws stray less than independent ones)."""
    rng = np.random.default_rng(3)
    logits = np.tile(rng.normal(0, 2, 30), (4_000, 1))
    ids, counts = draw_soft_labels(logits, 50, rng)
    total = np.bincount(ids[ids >= 0], weights=counts[ids >= 0], minlength=30)
    expected = np.exp(logits[0]) / np.exp(logits[0]).sum() * total.sum()
    assert total.sum() == 4_000 * 50
    assert chisquare(total, expected).pvalue > 1e-6
    wrong = np.roll(expected, 1)
    assert chisquare(total, wrong).pvalue < 1e-6, "the test has no teeth"


def test_counts_are_within_one_of_their_mean() -> None:
    logits = np.random.default_rng(2).normal(0, 2, (3_000, 30))
    ids, counts = draw_soft_labels(logits, 50, np.random.default_rng(4))
    told = np.zeros((len(ids), 31))
    np.put_along_axis(told, np.where(ids < 0, 30, ids), counts, axis=1)
    mean = 50 * np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(told[:, :30] - mean).max() < 1


def test_rows_are_compact_sets() -> None:
    ids, counts = draw_soft_labels(
        np.random.default_rng(0).normal(size=(200, 40)), 12, np.random.default_rng(1)
    )
    assert (counts.sum(axis=1) == 12).all()
    assert ((ids == -1) == (counts == 0)).all()
    told = [row[row >= 0].tolist() for row in ids]
    assert all(row == sorted(set(row)) for row in told)
    assert max(map(len, told)) == ids.shape[1]


def test_the_same_seed_gives_the_same_labels_and_blocks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    whole = draw_soft_labels(logits, 8, np.random.default_rng(5))
    monkeypatch.setattr("kdguard.distill.transcripts.draws._BLOCK_VALUES", 64 * 7)
    again = draw_soft_labels(logits, 8, np.random.default_rng(5))
    other = draw_soft_labels(logits, 8, np.random.default_rng(6))
    np.testing.assert_array_equal(whole.ids, again.ids)
    np.testing.assert_array_equal(whole.counts, again.counts)
    assert whole.ids.shape != other.ids.shape or (whole.ids != other.ids).any()


def test_impossible_tokens_are_never_drawn() -> None:
    logits = np.full((300, 9), -np.inf)
    logits[:, [0, 4]] = 0.0, -30.0
    logits[150:, 0] = -np.inf
    ids, _ = draw_soft_labels(logits, 20, np.random.default_rng(0))
    assert set(ids[ids >= 0]) <= {0, 4}
    assert (ids[150:, 0] == 4).all()


def test_nothing_to_draw_from_is_refused() -> None:
    rng = np.random.default_rng(0)
    for bad in (np.full((1, 3), -np.inf), np.array([[0.0, np.nan, 0.0]])):
        with pytest.raises(TranscriptError, match="finite largest logit"):
            draw_soft_labels(bad, 3, rng)
    with pytest.raises(TranscriptError, match="at least 1, got 0"):
        draw_soft_labels(np.zeros((1, 3)), 0, rng)
    assert draw_soft_labels(np.zeros((0, 3)), 3, rng).ids.shape == (0, 0)
