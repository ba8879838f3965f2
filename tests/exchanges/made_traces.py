"""Token traces drawn by hypothesis, and a realistic one drawn by seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from kdguard.exchanges.tokens import TokenTrace


@st.composite
def traces(draw: st.DrawFn, *, exact: bool = False) -> TokenTrace:
    """Any trace; with `exact`, one whose values float16 holds and whose widest position has k alternatives."""
    t = draw(st.integers(1, 6))
    k = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = rng.integers(0, draw(st.sampled_from([2, 300, 8192, 151_936])), (t, k)).astype(np.int32)
    logprobs = np.negative(np.sort(rng.exponential(3.0, (t, k)), axis=1)).astype(
        np.float16 if exact else np.float32
    )
    widths = rng.integers(0, k + 1, t)
    widths[0] = k
    pad = np.arange(k) >= widths[:, None]
    kind = draw(st.sampled_from(["plain", "ids", "bytes", "both", "sampled"]))
    wide: dict[str, Any] = {}
    if kind in ("ids", "both", "sampled"):
        unknown = rng.random((t, k)) < draw(st.sampled_from([0.0, 0.3]))
        wide["top_ids"] = np.where(pad | (unknown & (kind != "sampled")), -1, ids)
    if kind in ("bytes", "both"):
        wide["top_bytes"] = tuple(
            tuple(b"" if pad[i, j] else b"t%d" % ids[i, j] for j in range(k)) for i in range(t)
        )
    if kind == "sampled":
        wide["sampled_counts"] = np.where(pad, 0, rng.integers(1, 50, (t, k)))
    elif kind != "plain":
        wide["top_logprobs"] = np.where(pad, -np.inf, logprobs.astype(np.float32))
        if draw(st.booleans()):
            wide["tail_mass"] = rng.random(t).astype(np.float16).astype(np.float32)
    return TokenTrace(
        token_bytes=tuple(bytes(rng.integers(0, 256, rng.integers(0, 5), dtype=np.uint8)) for _ in range(t)),
        logprob=logprobs[:, 0].astype(np.float32),
        token_id=ids[:, 0] if draw(st.booleans()) else None,
        **wide,
    )
