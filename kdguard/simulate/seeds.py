"""Random streams keyed by name, so that adding one owner to a world changes none of the others."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on the seed and on these names only.

    Args:
        seed: The seed of the whole world.
        names: Who the stream belongs to, e.g. `("owner", "office-0003")`.

    References:
        NumPy `SeedSequence`: https://numpy.org/doc/stable/reference/random/parallel.html
    """
    digest = hashlib.blake2b("\x1f".join(names).encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype=np.uint32).tolist()
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32, *words]))
    )


def hex_ids(rng: np.random.Generator, n: int, width: int = 24) -> list[str]:
    """`n` random hexadecimal strings of `width` digits (even); the same form for benign and attack."""
    digits = rng.bytes(n * width // 2).hex()
    return [digits[i : i + width] for i in range(0, n * width, width)]


def hex_id(rng: np.random.Generator, width: int = 24) -> str:
    """One random hexadecimal string."""
    return rng.bytes(width // 2).hex()
