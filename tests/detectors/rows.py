"""Random rows for laws that hold of any rows."""

from __future__ import annotations

import numpy as np

from kdguard.features.session import Rows
from kdguard.features.signals import NO_TIME


def random_rows(seed: int, accounts: int, requests: int) -> Rows:
    """Rows of `accounts` subjects in canonical order, some without time or text."""
    rng = np.random.default_rng(seed)
    size = accounts * requests
    subject = np.repeat(np.sort(rng.integers(1, 2**63, accounts).astype(np.uint64)), requests)
    ordinal = np.tile(np.arange(requests), accounts)
    codes = {
        name: rng.integers(0, 6, size).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for name in [
            "head",
            "tail",
            "text",
            "system",
            "model",
            "network",
            "user_agent",
            "tls",
            "key",
            "session",
        ]
    }
    time_us = np.sort(rng.integers(0, 10**13, size).reshape(accounts, requests), axis=1).reshape(-1)
    gap_us = np.where(ordinal == 0, -1, np.diff(time_us, prepend=0))
    return Rows(
        subject=subject,
        ordinal=ordinal,
        time_us=np.where(rng.random(size) < 0.05, NO_TIME, time_us),
        gap_us=gap_us,
        previous_flags=rng.integers(0, 1024, size).astype(np.int32),
        margin=rng.integers(-5000, 5000, size).astype(np.int32),
        technique=rng.integers(0, 6, size).astype(np.int8),
        familiarity=rng.integers(0, 2000, size).astype(np.int32),
        has_text=rng.random(size) < 0.9,
        signs=rng.integers(0, 256, (size, 16)).astype(np.uint8),
        prompt_bytes=rng.integers(0, 9000, size),
        output_tokens=rng.integers(-1, 4000, size),
        flags=rng.integers(0, 1024, size).astype(np.int32),
        **codes,
    )
