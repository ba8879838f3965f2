from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kdguard.detectors.rivals import (
    ClosePairs,
    MeanDiscrepancy,
    Prada,
    RateLimit,
    WeightedSum,
    default_rivals,
)
from kdguard.detectors.rivals.mean_discrepancy import BANDWIDTHS
from kdguard.detectors.rivals.prada import nearest_distances, smallest_w
from kdguard.detectors.rivals.rate_limit import busiest_hour
from kdguard.detectors.rivals.vectors import Vectors, squared_distances
from kdguard.detectors.rivals.weighted_sum import CUTS, WEIGHTS, signals
from kdguard.simulate.evaluation import Conversations, Rival
from kdguard.simulate.techniques import elicit

WORDS = [f"word{at}" for at in "abcdefghijklmnopqrstuvwxyz"]
MINUTE_US = 60_000_000


def conversations(accounts: list[list[str]], gap_us: int = 30 * MINUTE_US) -> Conversations:
    size = np.array([len(prompts) for prompts in accounts])
    n = int(size.sum())
    table = pa.table(
        {
            "account_id": [f"a{at}" for at, prompts in enumerate(accounts) for _ in prompts],
            "time": pa.array(np.arange(n) * gap_us, pa.int64()).cast(pa.timestamp("us", "UTC")),
            "request_id": [f"r{at}" for at in range(n)],
            "prompt": pa.array([text for prompts in accounts for text in prompts], pa.string()),
            "refused": [False] * n,
            "model": ["m"] * n,
            "output_tokens": pa.array([100] * n, pa.int64()),
            "logprobs": [False] * n,
            "status": pa.array([200] * n, pa.int32()),
        }
    )
    names = np.array([f"a{at}" for at in range(len(accounts))], dtype=object)
    return Conversations(names, np.concatenate(([0], np.cumsum(size))), table)


def texts(rng: np.random.Generator, n: int, words: list[str] = WORDS) -> list[str]:
    return [" ".join(rng.choice(words, size=12)) for _ in range(n)]


@pytest.fixture
def honest(rng: np.random.Generator) -> Conversations:
    return conversations([texts(rng, 40) for _ in range(60)])


@pytest.mark.parametrize("rival", default_rivals(), ids=lambda rival: rival.name)
def test_every_rival_scores_every_account_and_names_its_source(rival: Rival, honest: Conversations) -> None:
    fitted = rival.fit(honest, 40, 1)
    scores = fitted.score(honest)
    assert scores.shape == (len(honest),)
    assert rival.source
    assert all(np.isfinite(level) for level in fitted.thresholds.values())
    assert np.array_equal(scores, rival.fit(honest, 40, 1).score(honest), equal_nan=True)


def test_first_requests_leave_out_accounts_with_fewer() -> None:
    few = conversations([["x"] * 3, ["y"] * 5, ["z"] * 9]).first(4, 10)
    assert few.account_id.tolist() == ["a1", "a2"]
    assert few.prompts.to_pylist() == ["y"] * 4 + ["z"] * 4


def test_prada_distances_follow_the_growing_set(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((60, 5)).astype(np.float32)
    members, threshold = [0], 0.0
    inside: list[float] = []
    expected: list[float] = []
    for at in range(1, len(vectors)):
        nearest = min(float(np.linalg.norm(vectors[at] - vectors[other])) for other in members)
        expected.append(nearest)
        if nearest > threshold or not inside:
            members.append(at)
            inside.append(nearest)
            threshold = max(threshold, float(np.mean(inside) - np.std(inside)))
    assert nearest_distances(vectors) == pytest.approx(np.array(expected), abs=1e-3)


def test_prada_needs_over_a_hundred_distances_and_sees_two_clumps(rng: np.random.Generator) -> None:
    assert np.isnan(smallest_w(rng.normal(size=100)))
    assert smallest_w(rng.normal(10, 1, size=400)) > 0.95
    assert smallest_w(np.concatenate([np.zeros(200), np.full(200, 5.0)]) + rng.normal(0, 0.01, 400)) < 0.8


def test_close_pairs_count_near_duplicates(honest: Conversations, rng: np.random.Generator) -> None:
    fitted = ClosePairs().fit(honest, 40, 1)
    same = conversations([["the very same prompt again and again"] * 40, texts(rng, 40)])
    repeated, varied = fitted.score(same)
    assert repeated == 39
    assert varied <= 10


def test_mean_discrepancy_is_the_published_statistic(honest: Conversations, rng: np.random.Generator) -> None:
    fitted = MeanDiscrepancy().fit(honest, 30, 1)
    left, right = rng.standard_normal((2, 30, 96)).astype(np.float32) / 10

    def kernel(a: Any, b: Any) -> Any:
        distance = squared_distances(a, b)
        return np.mean([np.exp(-distance / (2 * width**2 * fitted.median)) for width in BANDWIDTHS], axis=0)

    def off_diagonal(values: Any) -> float:
        return float((values.sum() - np.trace(values)) / (len(values) * (len(values) - 1)))

    expected = (
        off_diagonal(kernel(left, left)) + off_diagonal(kernel(right, right)) - 2 * kernel(left, right).mean()
    )
    found = fitted.discrepancy(left, right[None], np.array([fitted.inside(right)]))
    assert found == pytest.approx(expected, abs=1e-4)


def test_pooled_threshold_accuses_ordinary_narrow_accounts(rng: np.random.Generator) -> None:
    narrow = [texts(rng, 40, list(rng.choice(WORDS, size=5, replace=False))) for _ in range(80)]
    teaching, test = conversations(narrow[:40]), conversations(narrow[40:])
    fitted = MeanDiscrepancy().fit(teaching, 40, 1)
    assert np.mean(fitted.score(test) >= fitted.thresholds["published, 95th percentile"]) > 0.8
    assert fitted.levels[0] <= fitted.levels[1]


def test_rate_limit_counts_the_busiest_hour() -> None:
    times = np.array([0, 10, 50, 59.99, 60, 400, 401]) * MINUTE_US
    assert busiest_hour(times) == 4
    assert np.isnan(busiest_hour(np.array([np.nan])))
    fast = conversations([["x"] * 150], gap_us=MINUTE_US // 10)
    assert RateLimit().score(fast)[0] >= RateLimit().thresholds["published, 100 an hour"]


def test_weighted_sum_is_a_sum_of_shares(honest: Conversations, rng: np.random.Generator) -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    found = signals(honest)
    assert found.keys() == WEIGHTS.keys()
    assert all(((values >= 0) & (values <= 1)).all() for values in found.values())
    asked = conversations([[f"Think step by step about {text}" for text in texts(rng, 40)]])
    assert WeightedSum().score(asked)[0] > WeightedSum().score(honest).max()
    assert WeightedSum().score(asked)[0] < CUTS["published, .72"]


def test_bag_of_words_finds_wording_and_not_subjects(rng: np.random.Generator) -> None:
    honest = conversations([texts(rng, 40) for _ in range(60)])
    attack = conversations([elicit(texts(rng, 40), "cot_elicit", rng, split="test", language="en")])
    fitted = next(rival for rival in default_rivals() if "bag" in rival.name).fit(honest, 40, 1)
    assert fitted.score(attack)[0] > 2
    assert np.mean(fitted.score(honest) >= 2) < 0.2


def test_vectors_are_of_length_one_and_ignore_empty_prompts(rng: np.random.Generator) -> None:
    vectors = Vectors.fit(pa.array(texts(rng, 50))).of(pa.array([*texts(rng, 3), "", None], pa.string()))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.array([1, 1, 1, 0, 0]), abs=1e-5)


def test_unfitted_rivals_say_so(honest: Conversations) -> None:
    for rival in (Prada(), ClosePairs(), MeanDiscrepancy()):
        with pytest.raises(ValueError, match="fitted"):
            rival.score(honest)
