"""Keyed functions against the vectors their makers publish, and against torch."""

from __future__ import annotations

import numpy as np
import pytest

from kdguard.detectors.watermark.prf.mersenne import Beginnings, coins, permutation
from kdguard.detectors.watermark.prf.philox import philox_words, uniform_float32
from kdguard.detectors.watermark.prf.siphash import siphash, siphash_words


def test_philox_gives_vllms_compatibility_words() -> None:
    windows = np.array([[1, 2, 3, 4], [4, 5, 6, 7]])[:, None, :]
    words = philox_words(42, windows, np.array([[7, 8]]))
    assert words.tolist() == [[425429266, 2706218805], [2494036831, 3424185538]]


def test_philox_takes_a_key_for_every_token() -> None:
    windows, tokens = np.array([[1, 2, 3, 4, 5]] * 3), np.array([7, 8, 9])
    keys = np.array([42, 2**63, 2**64 - 1], np.uint64)
    alone = [
        philox_words(int(key), windows[at : at + 1], tokens[at : at + 1])[0] for at, key in enumerate(keys)
    ]
    assert philox_words(keys, windows, tokens).tolist() == alone


def test_uniforms_of_philox_lie_strictly_between_0_and_1() -> None:
    ends = uniform_float32(np.array([0, 2**32 - 1], np.uint32))
    assert 0 < ends[0] < ends[1] < 1


def test_siphash_gives_the_papers_vector() -> None:
    key = np.frombuffer(bytes(range(16)), "<u8")
    message = np.frombuffer(bytes(range(15)) + bytes([15]), "<u8")
    assert siphash(key[0], key[1], list(message)).tolist() == [0xA129CA6149BE45E5]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, 0xCF2794E0277187B7), (2, 0x93F5F5799A932462), (3, 0x751E8FBC860EE5FB), (4, 0x3F2ACC7F57C29BDB)],
)
def test_siphash_of_windows_gives_the_authors_vectors(count: int, expected: int) -> None:
    """vectors.h of the reference code, for messages of 4, 8, 12 and 16 bytes."""
    key = np.frombuffer(bytes(range(16)), "<u8")
    ids = np.frombuffer(bytes(range(4 * count)), "<u4").astype(np.int64)
    assert siphash_words(key[0], key[1], ids[None, :-1], ids[-1:]).tolist() == [expected]


@pytest.mark.parametrize(("seed", "size"), [(0, 2), (5, 10), (15485863 * 77, 1000), (2**63 + 12345, 5_000)])
def test_the_shuffle_is_torchs(seed: int, size: int) -> None:
    torch = pytest.importorskip("torch")
    shuffled = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).numpy()
    assert np.array_equal(permutation(seed, size), shuffled)
    for count in (1, size // 4, size // 2, size):
        held = Beginnings(size, count).holds(seed, np.arange(size))
        assert np.array_equal(held, np.isin(np.arange(size), shuffled[:count]))


def test_the_coins_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    drawn = torch.randint(0, 2, (65_536,), generator=torch.Generator().manual_seed(7))
    assert np.array_equal(coins(7, 65_536), drawn.numpy())
