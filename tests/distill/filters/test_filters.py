"""Filters drop what they say, give the reason, and do not care for the order of rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.distill.filters.answers import Answered, Length, NotCut, NotRefused, Verified
from kdguard.distill.filters.best import BestOf, mean_logprob
from kdguard.distill.filters.duplicates import ExactDuplicates, NearDuplicates
from kdguard.distill.filters.minhash import BAND_ROWS, BANDS, band_keys, shingles
from kdguard.distill.filters.pipeline import Filter, filter_exchanges, filter_transcripts
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TranscriptError
from kdguard.exchanges.schema import from_rows
from tests.distill.transcripts.made_answers import trace

START = datetime(2026, 5, 1, tzinfo=UTC)


def table(*rows: dict[str, Any]) -> pa.Table:
    made = [
        {"request_id": f"r{i:03d}", "choice": 0, "prompt": f"p{i}", "response": f"text {i}", "status": 200}
        | row
        for i, row in enumerate(rows)
    ]
    return pa.Table.from_batches([from_rows(made)])


def kept(exchanges: pa.Table, *filters: Filter) -> list[str]:
    names: list[Any] = filter_exchanges(exchanges, filters).kept.column("request_id").to_pylist()
    return [name[-1] for name in names]


def test_single_exchanges() -> None:
    mixed = table(
        {"response": "fine"},
        {"response": None},
        {"response": "", "tool_calls": "[1]"},
        {"response": None, "label": "cat", "status": None},
        {"response": "error page", "status": 500},
        {"response": "no.", "refused": True},
        {"response": "half a sen", "finish_reason": "length", "refused": False},
        {"response": "lost", "truncated": True},
    )
    assert kept(mixed, Answered()) == ["0", "2", "3", "5", "6", "7"]
    assert kept(mixed, NotRefused()) == ["0", "1", "2", "3", "4", "6", "7"]
    assert kept(mixed, NotCut()) == ["0", "1", "2", "3", "4", "5"]
    assert kept(mixed, Length(least_chars=4, most_chars=5)) == ["0", "7"]
    outcome = filter_exchanges(
        mixed, [Answered(), NotRefused(), NotCut(), Length(least_chars=1, column="prompt")]
    )
    assert outcome.dropped == {"no_answer": 2, "refused": 1, "cut": 2, "length": 0}
    reasons = {row["request_id"]: row["reason"] for row in outcome.reasons.to_pylist()}
    assert reasons == dict.fromkeys(("r001", "r004"), "no_answer") | {"r005": "refused"} | dict.fromkeys(
        ("r006", "r007"), "cut"
    )


def test_length_in_tokens_and_letters() -> None:
    mixed = table(
        {"output_tokens": 9}, {"output_tokens": 10}, {"output_tokens": None}, {"response": "\u00e9" * 5}
    )
    assert kept(mixed, Length(most_tokens=9)) == ["0", "2", "3"]
    assert kept(mixed, Length(most_chars=5)) == ["3"]
    with pytest.raises(TranscriptError, match="most_chars must be at least 3, got 2"):
        Length(least_chars=3, most_chars=2)


def test_a_verifier_rejects_and_its_errors_are_not_swallowed() -> None:
    sums = table({"prompt": "1+2", "response": "3"}, {"prompt": "2+2", "response": "5"})

    def right(row: Mapping[str, Any]) -> bool:
        return sum(map(int, row["prompt"].split("+"))) == int(row["response"])

    outcome = filter_exchanges(sums, [Verified(right)])
    assert outcome.dropped == {"rejected": 1}
    assert kept(sums, Verified(right)) == ["0"]
    with pytest.raises(ValueError, match="invalid literal"):
        filter_exchanges(table({"prompt": "1+2", "response": "three"}), [Verified(right)])


def test_exact_duplicates_are_equal_in_everything_that_is_learnt() -> None:
    same = {"prompt": "Hi", "response": "Hello"}
    mixed = table(
        same | {"time": START},
        same | {"time": START - timedelta(days=1), "account_id": "other"},
        same | {"messages": [{"role": "user", "content": "before"}, {"role": "user", "content": "Hi"}]},
        same | {"response": "hello"},
        same | {"system": "Be brief."},
        same | {"time": START},
    )
    assert kept(mixed, ExactDuplicates()) == ["1", "2", "3", "4"], "the earliest stays"
    assert kept(mixed, ExactDuplicates(columns=("prompt",))) == ["2"], "no time comes before any"


PASSAGE = (
    "The harbour of the old town lies open to the west, and in autumn the storms drive the sea over the quay, so that "
    "the fishermen draw their boats up to the square before the church and mend their nets in the shelter of its wall "
    "until the wind has turned and the first of them can row out again to look after the pots."
)


def test_near_duplicates_share_nearly_all_their_words() -> None:
    mixed = table(
        {"response": PASSAGE},
        {"response": PASSAGE.replace("autumn", "winter")},
        {"response": PASSAGE.upper() + "!"},
        {"response": " ".join(reversed(PASSAGE.split()))},
        {"response": PASSAGE[: len(PASSAGE) // 2]},
    )
    same = NearDuplicates(columns=("response",))
    assert kept(mixed, same) == ["0", "3", "4"]
    assert kept(mixed, NearDuplicates(threshold=1.0, columns=("response",))) == ["0", "1", "3", "4"]
    assert filter_exchanges(mixed, [same]).dropped == {"near_duplicate": 2}
    with pytest.raises(TranscriptError, match=r"between 0.8 and 1, got 0.5"):
        NearDuplicates(threshold=0.5)


def test_numbers_tell_tasks_apart() -> None:
    sums = table(
        *(
            {"prompt": f"Ann has {a} apples and buys {b} more. How many?"}
            for a, b in ((1, 2), (1, 3), (21, 2))
        )
    )
    assert kept(sums, NearDuplicates(columns=("prompt",))) == ["0", "1", "2"]


def test_texts_without_words_are_like_nothing() -> None:
    assert kept(
        table({"response": "?!"}, {"response": "?!"}, {"response": None}),
        NearDuplicates(columns=("response",)),
    ) == [
        "0",
        "1",
        "2",
    ]
    assert kept(table(), NearDuplicates(), ExactDuplicates(), BestOf(lambda row: 0)) == []


def test_bands_meet_as_often_as_theory_says() -> None:
    """Pairs at similarity J share at least one band with probability 1 - (1 - J^6)^20; false-fail rate below 1e-6."""
    rng = np.random.default_rng(0)
    pairs, words = 400, 100
    found = {}
    for changed in (2, 6, 20):
        texts = []
        for _ in range(pairs):
            one = [f"w{i}" for i in rng.integers(0, 10**9, words)]
            other = [w if i % (words // changed) else f"x{w}" for i, w in enumerate(one)]
            texts += [" ".join(one), " ".join(other)]
        sets = shingles(pa.array(texts))
        alike = float(np.mean([sets.similarities(2 * i, np.array([2 * i + 1]))[0] for i in range(pairs)]))
        keys = band_keys(sets)
        met = float((keys[::2] == keys[1::2]).any(axis=1).mean())
        expected = 1 - (1 - alike**BAND_ROWS) ** BANDS
        found[changed] = (alike, met, expected)
        assert abs(met - expected) < 5 * (expected * (1 - expected) / pairs) ** 0.5 + 0.01, found
    assert found[2][0] > 0.9
    assert found[20][1] < 0.75, "the test has no teeth"


def test_similarities_are_those_of_the_sets() -> None:
    texts = ["a b c d", "a b c d", "b c d", "", "x a b y", "7 b", "8 b"]
    sets = shingles(pa.array(texts))
    pairs = [{*pairwise([*text.split(), "."])} for text in texts]
    everyone = np.arange(len(texts))
    for row, mine in enumerate(pairs):
        expected = [len(mine & other) / max(len(mine | other), 1) for other in pairs]
        np.testing.assert_allclose(sets.similarities(row, everyone), expected)
    assert len(sets.similarities(0, everyone[:0])) == 0


def test_best_of_n_by_request_or_by_question() -> None:
    rows = [
        {"request_id": name, "choice": choice, "prompt": prompt, "response": text}
        for name, choice, prompt, text in (
            ("a", 0, "q", "xx"),
            ("a", 1, "q", "xxxx"),
            ("a", 2, "q", "yyyy"),
            ("b", 0, "q", "xxxxx"),
            ("c", 0, "other", "x"),
        )
    ]
    answers = table(*rows)

    def longest(row: Mapping[str, Any]) -> float:
        return len(row["response"])

    def left(best: BestOf) -> list[tuple[str, int]]:
        found = filter_exchanges(answers, [best]).kept.select(["request_id", "choice"]).to_pylist()
        return [(row["request_id"], row["choice"]) for row in found]

    assert left(BestOf(longest)) == [("a", 1), ("b", 0), ("c", 0)]
    assert left(BestOf(longest, count=2)) == [("a", 1), ("a", 2), ("b", 0), ("c", 0)]
    assert left(BestOf(longest, by=("prompt",))) == [("b", 0), ("c", 0)]
    with pytest.raises(TranscriptError, match="NaN for request a"):
        left(BestOf(lambda row: float("nan")))
    with pytest.raises(TranscriptError, match="count must be at least 1"):
        BestOf(longest, count=0)


WORDS = st.lists(
    st.sampled_from(["river", "stone", "bridge", "7", "8", "boat"]), min_size=0, max_size=30
).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(WORDS, st.integers(0, 3)), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(made: list[tuple[str, int]], seed: int) -> None:
    rows: list[dict[str, Any]] = [
        {
            "request_id": f"r{i}",
            "response": text,
            "prompt": f"p{i % 3}",
            "time": START + timedelta(hours=hour),
        }
        for i, (text, hour) in enumerate(made)
    ]
    order = np.random.default_rng(seed).permutation(len(rows))
    best = BestOf(lambda row: len(row["response"]) // 20, by=("prompt",), count=2)
    for each in (ExactDuplicates(("response",)), NearDuplicates(columns=("response",)), best):
        one, other = (filter_exchanges(table(*given), [each]) for given in (rows, [rows[i] for i in order]))
        names = [sorted(map(str, o.kept.column("request_id").to_pylist())) for o in (one, other)]
        assert names[0] == names[1]
        assert one.dropped == other.dropped
        assert one.kept.num_rows + one.reasons.num_rows == len(rows)


def test_tokens_go_with_their_exchanges(tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path) as writer:
        rows = [{"request_id": "a", "choice": c, "response": f"answer {c}"} for c in range(4)]
        writer.append_rows(rows, [trace(c) if c else None for c in range(4)])
    found = read_transcripts(tmp_path)
    means = [float(trace(c).logprob.mean()) for c in (1, 2, 3)]
    best = 1 + int(np.argmax(means))
    left, outcome = filter_transcripts(found, [BestOf(mean_logprob(found.tokens))])
    assert outcome.dropped == {"not_best": 3}
    assert [(name, choice) for name, choice, _ in left.tokens] == [("a", best)]
    assert left.tokens.get("a", best) == trace(best)
    digits = Verified(lambda row: re.search("[02]", row["response"]) is not None)
    left, _ = filter_transcripts(found, [digits])
    assert [choice for _, choice, _ in left.tokens] == [2]
    assert left.exchanges.column("choice").to_pylist() == [0, 2]
