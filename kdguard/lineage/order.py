"""The order in which prompts are asked and looked at: drawn with a public seed, so that no stop can be steered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def place_in_order(seed: int, prompt_id: str) -> bytes:
    """Sort key of a prompt: prompts in the order of their keys are in random order, the same on every computer."""
    return hashlib.blake2b(f"kdguard lineage/{seed}/{prompt_id}".encode(), digest_size=8).digest()


def order_digest(prompts: Sequence[str]) -> str:
    """SHA-256 of prompt ids in order: what a commitment and a test have in common."""
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()
