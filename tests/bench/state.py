"""Bytes that an account's state takes at rest, the default suite together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from kdguard.detectors import default_suite
from kdguard.scoring.pipeline import encode_into, in_order
from kdguard.scoring.spill import Spill
from kdguard.scoring.states import account_bytes, to_arrow
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import load_world

_OWNERS = 600
_BANDS = (1, 10, 20, 100, 1_000, 10**9)


def sizes() -> Iterator[dict[str, Any]]:
    """Mean and largest size of accounts of the standard world, by requests, beside the dense size."""
    suite = default_suite()
    states = [detector.create() for detector in suite.detectors]
    requests: dict[int, int] = {}
    with Spill() as spill:
        world = replace(load_world("standard"), owners=_OWNERS)
        encode_into(spill, simulate(world, seed=3).exchanges, suite.encoder)
        for rows in in_order(spill):
            requests |= dict(zip(rows.subject.tolist(), (rows.ordinal + 1).tolist(), strict=True))
            states = [
                detector.update(state, rows) for detector, state in zip(suite.detectors, states, strict=True)
            ]
    packed = account_bytes(to_arrow(suite.detectors, states))
    count = np.array([requests[subject] for subject in states[0].subjects.tolist()])
    for first, end in pairwise(_BANDS):
        mine = packed[(count >= first) & (count < end)]
        yield {
            "bench": "state",
            "requests": f"{first}-{end - 1}" if end < 10**9 else f"{first}-",
            "accounts": len(mine),
            "mean_bytes": round(float(mine.mean())),
            "largest_bytes": int(mine.max()),
            "dense_bytes": sum(state.bytes_per_subject for state in states),
        }
