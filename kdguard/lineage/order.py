"""The order in which prompts are asked and looked at: drawn with a public seed, so that no stop can be steered."""

from __future__ import annotations

import hashlib


def place_in_order(seed: int, prompt_id: str) -> bytes:
    """Sort key of a prompt: prompts in the order of their keys are in random order, the same on every computer."""
    return hashlib.blake2b(f"kdguard lineage/{seed}/{prompt_id}".encode(), digest_size=8).digest()
