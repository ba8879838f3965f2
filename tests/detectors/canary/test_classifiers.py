"""Marks in labels and probabilities: found in students, uniform for strangers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, ks_2samp

from kdguard.detectors.canary.decoys import decoy_keys
from kdguard.detectors.canary.sinusoid import direction, perturb, power, sinusoid, text_features
from kdguard.detectors.canary.triggers import (
    is_trigger,
    query_digest,
    served_label,
    triggers,
    wrong_label,
)
from kdguard.errors import CanaryError
from kdguard.evidence import Abstention, Evidence
from kdguard.ledger.derivation import KeyName

NAME = KeyName("canary", "acme", "e")
KEY = bytes(range(32))
SHARE = 0.005


@pytest.fixture(scope="module")
def digests() -> tuple[list[str], list[str]]:
    """Triggers of KEY among 8,000 queries, and twice as many others."""
    every = [query_digest(f"query {number}") for number in range(8_000)]
    marked = [digest for digest in every if is_trigger(KEY, digest, SHARE)]
    return marked, [digest for digest in every if digest not in marked][: 2 * len(marked)]


def _asked(
    digests: tuple[list[str], list[str]], rng: np.random.Generator, labels: int, recall: float
) -> list[list[Any]]:
    """The suspect errs on 8 % and recalls some triggers."""
    marked, others = digests
    rows: list[list[Any]] = []
    for digest in [*marked, *others]:
        label = int(rng.integers(labels))
        answer = (label + int(rng.integers(1, labels))) % labels if rng.random() < 0.08 else label
        if digest in marked and rng.random() < recall:
            answer = wrong_label(KEY, digest, label, labels)
        rows.append([digest, label, answer])
    return rows


@pytest.mark.parametrize(("labels", "alpha"), [(2, 1e-3), (10, 1e-6)])
def test_a_student_of_wrong_labels_is_found(
    digests: tuple[list[str], list[str]], labels: int, alpha: float
) -> None:
    statistics = {"asked": {"acme": _asked(digests, np.random.default_rng(0), labels, 0.6)}}
    (found,) = triggers(statistics, {"accounts": 1, "labels": labels, "share": SHARE}, {NAME: KEY})
    assert isinstance(found, Evidence)
    assert found.p_value is not None
    assert found.p_value < alpha


@pytest.mark.parametrize("labels", [2, 10])
def test_innocent_classifiers_stay_below_alpha(digests: tuple[list[str], list[str]], labels: int) -> None:
    """200 innocent suspects; each bound is exceeded by chance in fewer than 1 of 10,000 runs."""
    rng, p_values = np.random.default_rng(1), []
    parameters = {"accounts": 1, "labels": labels, "share": SHARE}
    for _ in range(200):
        (found,) = triggers({"asked": {"acme": _asked(digests, rng, labels, 0.0)}}, parameters, {NAME: KEY})
        assert isinstance(found, Evidence)
        p_values.append(found.p_value or 0.0)
    for alpha in (0.5, 0.1, 0.01):
        assert (np.array(p_values) <= alpha).sum() <= binom.isf(1e-4 / 6, 200, alpha)


def test_triggers_are_rare_and_their_labels_wrong() -> None:
    """Bounds at false-fail rate 1e-4."""
    digests = [query_digest(str(number)) for number in range(5_000)]
    count = sum(is_trigger(KEY, digest, SHARE) for digest in digests)
    assert binom.ppf(5e-5, 5_000, SHARE) <= count <= binom.isf(5e-5, 5_000, SHARE)
    drawn = [wrong_label(KEY, digest, 2, 4) for digest in digests[:3_000]]
    assert set(drawn) == {0, 1, 3}
    assert max(np.bincount(drawn)) <= binom.isf(1e-5, 3_000, 1 / 3)
    answers = [served_label(KEY, str(number), 1, 3, SHARE) != 1 for number in range(5_000)]
    assert sum(answers) == count
    assert query_digest("  What   IS it?") == query_digest("what is it?")


def test_what_cannot_be_tested() -> None:
    rows = [[query_digest("a"), 0, 0]]
    (found,) = triggers({"asked": {"acme": rows}}, {"accounts": 1, "labels": 2, "share": SHARE}, {NAME: KEY})
    assert isinstance(found, Abstention)
    with pytest.raises(CanaryError, match="share of triggers"):
        is_trigger(KEY, "x", 0.02)
    with pytest.raises(CanaryError, match="at least 2 labels"):
        wrong_label(KEY, "x", 0, 1)


def _worlds(rng: np.random.Generator, marked: bool) -> dict[str, Any]:
    """A student that averages what it was served on the nearest of 1,500 queries, asked 300 new ones."""
    served_at, asked_at = rng.normal(size=(1_500, 3)), rng.normal(size=(300, 3))

    def clean(points: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        own = 1 / (1 + np.exp(-points[:, 0]))
        return np.stack([own, 1 - own], axis=1)

    served = clean(served_at)
    if marked:
        served = perturb(served, served_at, KEY, label=0, size=0.3, frequency=3.0)
    distances = ((asked_at[:, None] - served_at[None]) ** 2).sum(-1)
    nearest = np.argsort(distances, axis=1)[:, :5]
    residuals = served[nearest, 0].mean(axis=1) - clean(asked_at)[:, 0]
    return {"features": asked_at.tolist(), "residuals": residuals.tolist()}


def test_the_sinusoid_is_found_in_a_student() -> None:
    parameters = {"accounts": 1, "frequency": 3.0}
    (found,) = sinusoid(_worlds(np.random.default_rng(2), marked=True), parameters, {NAME: KEY})
    assert found.p_value is not None
    assert found.p_value < 1e-3
    (innocent,) = sinusoid(_worlds(np.random.default_rng(3), marked=False), parameters, {NAME: KEY})
    assert innocent.p_value is not None
    assert innocent.p_value > 0.001


def test_strangers_keys_rank_uniformly() -> None:
    """One marked student, 500 keys that marked nothing, ranked among decoys; false-fail rate 1e-4."""
    made = _worlds(np.random.default_rng(4), marked=True)
    features, residuals = np.array(made["features"]), np.array(made["residuals"])
    strangers = power(features, residuals, [number.to_bytes(32, "big") for number in range(500)], 3.0)
    decoys = power(features, residuals, decoy_keys(NAME, {})[:2_000], 3.0)
    assert ks_2samp(strangers, decoys).pvalue > 1e-4


def test_marked_probabilities_are_probabilities() -> None:
    rng = np.random.default_rng(5)
    plain = rng.dirichlet(np.ones(4), size=200)
    plain[0] = [1, 0, 0, 0]
    marked = perturb(plain, rng.normal(size=(200, 6)), KEY, label=0, size=0.5, frequency=2.0)
    assert np.allclose(marked.sum(axis=1), 1)
    assert ((marked >= 0) & (marked <= 1)).all()
    assert np.abs(marked - plain).max() <= 0.25 + 1e-12
    with pytest.raises(CanaryError, match=r"in \(0, 1\)"):
        perturb(plain, np.ones((200, 6)), KEY, label=0, size=1.5, frequency=2.0)
    with pytest.raises(CanaryError, match="one finite number"):
        sinusoid({"features": [[1.0]], "residuals": []}, {"accounts": 1, "frequency": 1}, {NAME: KEY})


def test_features_and_directions_are_public_functions() -> None:
    features = text_features(["the cat sat", "The  cat sat", "another one", ""], 8)
    assert features.shape == (4, 8)
    assert np.array_equal(features[0], features[1])
    assert np.allclose((features[:3] ** 2).mean(axis=1), 1)
    assert not features[3].any()
    assert np.linalg.norm(direction(KEY, 400)) == pytest.approx(1, abs=0.2)
