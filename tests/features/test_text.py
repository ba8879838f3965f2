from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.features.embedding import Embedding, unpack
from kdguard.features.text import MAX_TEXT_BYTES, edge_codes, hash_identities, hash_words, text_codes

TEXTS = st.lists(st.text(max_size=60) | st.none(), max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, cut=st.integers(0, 12))
def test_a_text_hashes_alike_in_every_batch(texts: list[str | None], cut: int) -> None:
    def codes(part: list[str | None]) -> list[list[int]]:
        words = hash_words(pa.array(part, pa.string()))
        bounds = list(zip(words.indptr[:-1], words.indptr[1:], strict=True))
        return [[*words.words[a:b], *words.stems[a:b], *words.bigrams[a:b]] for a, b in bounds]

    assert codes(texts) == codes(texts[:cut]) + codes(texts[cut:])


def test_words_are_lower_case_runs_with_digits_masked() -> None:
    words = hash_words(pa.array(["Hello World 12", "hello, world 34", "hello world"]))
    assert np.diff(words.indptr).tolist() == [3, 3, 2]
    assert words.words[:3].tolist() == words.words[3:6].tolist()
    assert words.words[6:8].tolist() == words.words[:2].tolist()


def test_characters_written_without_spaces_are_words() -> None:
    assert np.diff(hash_words(pa.array(["世界 abc世x", "こんにちは", "привет мир"])).indptr).tolist() == [
        5,
        5,
        2,
    ]


def test_empty_and_null_texts_have_no_words() -> None:
    words = hash_words(pa.array(["", None, "  \t\n", "x"], pa.string()))
    assert words.indptr.tolist() == [0, 0, 0, 0, 1]
    assert text_codes(words)[0] == text_codes(words)[2]


def test_a_huge_text_is_read_at_both_ends() -> None:
    long = "start here " + "filler " * MAX_TEXT_BYTES + "end there"
    words = hash_words(pa.array(["start here", long, "end there"]))
    head, tail = edge_codes(words, 2)
    assert head[1] == head[0]
    assert tail[1] == tail[2]
    assert words.size_bytes[1] == len(long)
    assert words.indptr[2] - words.indptr[1] < MAX_TEXT_BYTES


def test_a_slice_is_hashed_like_a_copy() -> None:
    texts = pa.array(["alpha beta", "gamma", "delta epsilon"])
    sliced, copied = hash_words(texts.slice(1)), hash_words(pa.array(["gamma", "delta epsilon"]))
    assert sliced.words.tolist() == copied.words.tolist()


def test_identities_are_zero_only_where_null() -> None:
    codes = hash_identities(pa.array(["a", None, "b", "a"]))
    assert codes[1] == 0
    assert codes[0] == codes[3] != codes[2]
    assert codes[0] != 0


def test_signs_tell_how_close_texts_are() -> None:
    texts = pa.array(
        [
            "how do I bake a loaf of bread",
            "how do I bake bread at home",
            "prove the spectral theorem for operators",
        ]
    )
    signs = unpack(Embedding().signs(hash_words(texts))).astype(np.int64)
    near, far = signs[0] @ signs[1], signs[0] @ signs[2]
    assert near > far + 20


def test_signs_of_a_text_of_any_length_are_those_of_its_words() -> None:
    """Six thousand words of weight fifteen come to more than sixteen bits hold."""
    embedding = Embedding(np.full(1 << 14, 15, np.int64))
    word, long = "w", " ".join(["w"] * 6_000)
    alone, together = (
        embedding.signs(hash_words(pa.array(texts))) for texts in ([word, "other"], [long, "other"])
    )
    assert len(hash_words(pa.array([long])).words) == 6_000
    assert np.array_equal(alone, together)
