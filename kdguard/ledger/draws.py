"""Public functions of a key: what a committed key draws, anyone who is shown the key can draw again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kdguard.ledger.canonical import canonical

Ints = npt.NDArray[np.int64]


def words(key: bytes, label: Sequence[str | int], count: int) -> npt.NDArray[np.uint64]:
    """Draw `count` words of 64 bits: SHAKE-256 over the key of 32 bytes, then the canonical JSON of the label."""
    stream = hashlib.shake_256(key + canonical(list(label))).digest(8 * count)
    return np.frombuffer(stream, "<u8").astype(np.uint64)


def picks(key: bytes, label: Sequence[str | int], sizes: Ints) -> Ints:
    """Draw one number below each of the sizes, uniform up to sizes / 2**64.

    Args:
        key: 32 bytes.
        label: What is drawn; other labels draw independently.
        sizes: Positive, shape (n,).
    """
    return (words(key, label, sizes.size) % sizes.astype(np.uint64)).astype(np.int64)


def chance(key: bytes, domain: str, name: str) -> float:
    """Draw one number in [0, 1): keyed BLAKE2b, cheap enough for one call a request.

    Args:
        key: 32 bytes.
        domain: What is drawn, at most 16 ASCII characters; other domains draw independently.
        name: Of what it is drawn for.
    """
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=key, person=domain.encode()).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
