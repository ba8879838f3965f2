"""Words of many texts at once: hashed straight over the Arrow string buffers, no Python object per text.

A substring hash costs O(1) after one prefix sum: with an odd P, the polynomial `sum (byte_i + 1) P^i` of a
substring, times `P^-start` modulo 2^64, does not depend on where the substring stands (Karp and Rabin 1987,
IBM J. Res. Dev. 31:249-260). All arithmetic is on integers, so a text has the same hashes in every batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.uint64]

MAX_TEXT_BYTES = 16_384
_EDGE_BYTES = MAX_TEXT_BYTES // 2
_BLOCK_BYTES = 1 << 16  # what is computed of so much text stays in a core's own cache
_STEM_BYTES = 4  # letters of a Latin word; a Cyrillic, Greek or Arabic letter takes two bytes
_P = 0x9E3779B97F4A7C15
_P_INVERSE = pow(_P, -1, 1 << 64)
_END = np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True, slots=True)
class Words:
    """Hashed words of n texts.

    Attributes:
        words: One code a word, lower case, digits masked to 0; shape (t,), uint64.
        stems: Code of the word's first letters, shape (t,), uint64.
        bigrams: Code of a word with its successor (the last word: with an end mark), shape (t,), uint64.
        indptr: Words of text i are `indptr[i]:indptr[i + 1]`; shape (n + 1,), int64.
        size_bytes: Length of each text before any cut, shape (n,), int64.
    """

    words: Codes
    stems: Codes
    bigrams: Codes
    indptr: npt.NDArray[np.int64]
    size_bytes: npt.NDArray[np.int64]


def mix(codes: Codes) -> Codes:
    """Finalise hashes so that every input bit reaches every output bit (splitmix64, Steele et al. 2014)."""
    codes = (codes ^ (codes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    codes = (codes ^ (codes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return codes ^ (codes >> np.uint64(31))


def word_runs(
    codes: Codes, text: npt.NDArray[np.int64], lengths: range
) -> Iterator[tuple[Codes, npt.NDArray[np.int64]]]:
    """Hash the runs of some numbers of words that lie within one text.

    Args:
        codes: Words of all texts, in order, shape (w,).
        text: The text of each word, shape (w,).
        lengths: Words of a run, at least 1, ascending.

    Yields:
        For each length the hashes of its runs, and the text of each.
    """
    run = codes
    for length in range(1, lengths.stop):
        if length > 1:
            run = mix(run[:-1] * np.uint64(_P) + codes[length - 1 :])
        if length in lengths:
            inside = text[: len(run)] == text[length - 1 :]
            yield run[inside], text[: len(run)][inside]


def hash_words(texts: pa.Array[Any]) -> Words:
    """Split n texts into words and hash them.

    A word is a run of letters, digits and non-ASCII bytes; characters from U+3000 on (kana, Han, Hangul),
    which are written without spaces, are words of their own. A text over `MAX_TEXT_BYTES` is read at its
    two ends only, where instructions stand.

    Args:
        texts: String array of length n; null counts as empty.

    Returns:
        The words of all texts, in order.
    """
    data, offsets, size_bytes = _buffers(texts)
    parts = []
    first = 0
    while first < len(size_bytes):
        last = int(np.searchsorted(offsets, offsets[first] + _BLOCK_BYTES, side="right")) - 1
        last = min(max(last, first + 1), len(size_bytes))
        start, end = offsets[first], offsets[last]
        parts.append(_hash_block(data[start:end], offsets[first : last + 1] - start))
        first = last
    if not parts:
        empty = np.empty(0, np.uint64)
        return Words(empty, empty, empty, np.zeros(1, np.int64), size_bytes)
    counts = np.concatenate([part[3] for part in parts])
    return Words(
        words=np.concatenate([part[0] for part in parts]),
        stems=np.concatenate([part[1] for part in parts]),
        bigrams=np.concatenate([part[2] for part in parts]),
        indptr=np.concatenate(([0], np.cumsum(counts))),
        size_bytes=size_bytes,
    )


def hash_identities(values: pa.Array[Any]) -> Codes:
    """Hash whole strings, case and all; null becomes 0.

    Args:
        values: String array of length n.

    Returns:
        Codes of shape (n,), uint64, 0 only where null.
    """
    encoded = values.dictionary_encode()
    distinct: Any = encoded.dictionary.cast(pa.binary()).to_pylist()
    digests = [blake2b(value, digest_size=8).digest() for value in distinct]
    table = np.append(np.maximum(np.frombuffer(b"".join(digests), "<u8"), 1), np.uint64(0)).astype(np.uint64)
    codes = encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    return table[codes]


def edge_codes(words: Words, span: int) -> tuple[Codes, Codes]:
    """Hash the first and the last `span` words of each text: the fixed frame that a template leaves behind.

    Args:
        words: Hashed words of n texts.
        span: Words taken at each end.

    Returns:
        Codes of the heads and of the tails, each of shape (n,); texts without words get 0.
    """
    begin, end = words.indptr[:-1], words.indptr[1:]
    head = np.zeros(len(begin), np.uint64)
    tail = np.zeros(len(begin), np.uint64)
    for step in range(span):
        at = begin + step
        live = at < end
        head[live] = mix(head[live] * np.uint64(_P) + words.words[at[live]])
        at = end - 1 - step
        live = at >= begin
        tail[live] = mix(tail[live] * np.uint64(_P) + words.words[at[live]])
    return head, tail


def text_codes(words: Words) -> Codes:
    """Hash each whole text as its multiset of bigrams: equal wording gives equal codes.

    Args:
        words: Hashed words of n texts.

    Returns:
        Codes of shape (n,); texts without words get 0.
    """
    return mix(sum_by_text(words.bigrams, words.indptr))


def sum_by_text(values: npt.NDArray[Any], indptr: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Add integer values of each text's words; shape (t, ...) to (n, ...). Empty texts give 0."""
    total = np.zeros((len(indptr) - 1, *values.shape[1:]), values.dtype)
    full = indptr[1:] > indptr[:-1]
    if full.any():
        total[full] = np.add.reduceat(values, indptr[:-1][full], axis=0, dtype=values.dtype)
    return total


@lru_cache(maxsize=4)
def _powers(length: int) -> tuple[Codes, Codes]:
    base = np.full(length, _P, np.uint64)
    inverse = np.full(length, _P_INVERSE, np.uint64)
    base[0] = inverse[0] = 1
    return np.cumprod(base, dtype=np.uint64), np.cumprod(inverse, dtype=np.uint64)


def _values() -> Codes:
    value = np.arange(256, dtype=np.uint64)
    value[ord("A") : ord("Z") + 1] += np.uint64(32)
    value[ord("0") : ord("9") + 1] = ord("0")
    return value + np.uint64(1)


_VALUE = _values()


def _is_wordy(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Letters, digits and bytes of characters beyond ASCII; differences of bytes wrap, so one comparison is a range."""
    letter = ((data | 0x20) - np.uint8(ord("a"))) < 26
    return letter | ((data - np.uint8(ord("0"))) < 10) | (data >= 128)


def _is_unspaced(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """First bytes of characters from U+3000 to U+DFFF."""
    return (data - np.uint8(0xE3)) < 11


def _hash_block(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
) -> tuple[Codes, Codes, Codes, npt.NDArray[np.int64]]:
    size = len(data)
    if size == 0:
        empty = np.empty(0, np.uint64)
        return empty, empty, empty, np.zeros(len(offsets) - 1, np.int64)
    powers, inverses = _powers(1 << max(int(size).bit_length(), 17))
    prefix = np.empty(size + 1, np.uint64)
    prefix[0] = 0
    terms = np.take(_VALUE, data)
    np.cumsum(np.multiply(terms, powers[:size], out=terms), out=prefix[1:])

    wordy = _is_wordy(data)
    lead = _is_unspaced(data)
    solitary = lead.copy()
    solitary[1:] |= lead[:-1]
    solitary[2:] |= lead[:-2]
    starts_here = wordy.copy()
    starts_here[1:] &= ~wordy[:-1] | (solitary[:-1] & ~solitary[1:])
    starts_here |= lead
    inner = offsets[:-1][offsets[:-1] < size]
    starts_here[inner] = wordy[inner]
    ends_here = wordy.copy()
    ends_here[:-1] &= ~wordy[1:] | starts_here[1:]

    starts = np.flatnonzero(starts_here)
    ends = np.flatnonzero(ends_here) + 1
    before, shift = prefix[starts], inverses[starts]
    words = mix((prefix[ends] - before) * shift)
    stem_bytes = np.where(data[starts] < 128, _STEM_BYTES, 2 * _STEM_BYTES)
    stem_ends = np.minimum(starts + stem_bytes, ends)
    stems = mix((prefix[stem_ends] - before) * shift + _END)
    indptr = np.searchsorted(starts, offsets)
    successor = np.empty_like(words)
    successor[:-1] = words[1:]
    full = indptr[1:] > indptr[:-1]
    successor[indptr[1:][full] - 1] = _END
    return words, stems, mix(words * np.uint64(_P) + successor), np.diff(indptr)


def _buffers(
    texts: pa.Array[Any],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    texts = texts.fill_null("").cast(pa.large_string())
    _, raw_offsets, raw_data = texts.buffers()
    offsets = np.frombuffer(memoryview(raw_offsets or b"\0" * 8), np.int64, len(texts) + 1, 8 * texts.offset)
    data = np.frombuffer(memoryview(raw_data or b""), np.uint8)
    size_bytes = np.diff(offsets)
    if len(size_bytes) == 0 or size_bytes.max() <= MAX_TEXT_BYTES:
        return data, offsets, size_bytes
    return (*_cut_middles(data, offsets, size_bytes), size_bytes)


def _cut_middles(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], size_bytes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    pieces: list[npt.NDArray[np.uint8]] = []
    done = offsets[0]
    for index in np.flatnonzero(size_bytes > MAX_TEXT_BYTES):
        cut_from, cut_to = offsets[index] + _EDGE_BYTES, offsets[index + 1] - _EDGE_BYTES
        pieces += [data[done:cut_from], np.frombuffer(b" ", np.uint8)]
        done = cut_to
    pieces.append(data[done : offsets[-1]])
    kept = np.where(size_bytes > MAX_TEXT_BYTES, MAX_TEXT_BYTES + 1, size_bytes)
    return np.concatenate(pieces), np.concatenate(([0], np.cumsum(kept)))
