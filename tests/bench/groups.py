"""Looking for groups in large logs: time and memory by accounts.

`python -m tests.bench.groups 25000 100000`; with `--offices 2000`, so many groups of six form besides.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from kdguard.detectors import default_suite
from kdguard.detectors.shipped import SHIPPED
from kdguard.features.signals import SIGNALS
from kdguard.scoring.baseline import POOLED, Baseline
from kdguard.scoring.facts import Facts, gather
from kdguard.scoring.groups.find import find_groups
from kdguard.scoring.spill import Spill
from kdguard.scoring.store import load_baseline

_REQUESTS = 20
_CHUNK = 20_000
_START_US, _MONTH_US = 1_788_000_000_000_000, 30 * 86_400_000_000
_RING = 500
"""Accounts of the one campaign, the last ones."""


_OFFICE = 6
_OFFICE_CODES = 2**60


def signals(facts: Facts, first: int, end: int, offices: int = 0) -> pa.RecordBatch:
    """Twenty requests of each account: frames, clients and hours of its own, and a third behind 400 public exits.

    The first accounts belong to offices of six with one key and one frame each.
    """
    rng = np.random.default_rng(first)
    n, size = end - first, (end - first) * _REQUESTS
    ring = np.repeat(np.arange(first, end) >= len(facts) - _RING, _REQUESTS)

    def of_account(values: int, floor: int = 1) -> np.ndarray:
        return np.repeat(rng.integers(floor, floor + values, n), _REQUESTS)

    exits = np.repeat(rng.random(n) < 1 / 3, _REQUESTS)
    codes: dict[str, Any] = {
        "network": np.where(exits, of_account(400), of_account(2**50, 1_000)),
        "user_agent": of_account(30),
        "tls": of_account(60),
        "key": of_account(2**50),
        "system": of_account(2**50) * (rng.random(size) < 0.5),
        "head": np.where(ring, 77, of_account(2**20) + rng.integers(0, 3, size)),
        "tail": of_account(2**20) + rng.integers(0, 6, size),
        "text": rng.integers(1, 2**60, size),
        "model": of_account(5),
        "session": rng.integers(1, 2**60, size),
    }
    office = np.repeat(np.arange(first, end) // _OFFICE, _REQUESTS)
    for name in ("key", "head"):
        codes[name] = np.where(office < offices, _OFFICE_CODES + office, codes[name])
    columns: dict[str, Any] = {field.name: np.zeros(size, np.int64) for field in SIGNALS} | codes
    columns |= {
        "subject": np.repeat(facts.subject[first:end], _REQUESTS),
        "account_id": np.repeat(facts.account_id[first:end].astype(str), _REQUESTS),
        "request_id": [f"r{first * _REQUESTS + at}" for at in range(size)],
        "time_us": _START_US + rng.integers(0, _MONTH_US, size),
        "margin": np.where(ring, 900, rng.normal(-900, 400, size)).astype(np.int64),
        "technique": np.where(ring, 2, rng.integers(0, 10, size)),
        "familiarity": np.full(size, 240),
        "has_text": np.ones(size, np.bool_),
        "signs": [row.tobytes() for row in rng.integers(0, 256, (size, 16), np.uint8)],
        "half": rng.random(size) < 0.5,
    }
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in SIGNALS]
    return pa.RecordBatch.from_arrays(arrays, schema=SIGNALS)


def run(accounts: int, baseline: Baseline, offices: int = 0) -> dict[str, Any]:
    """Look for groups among so many accounts, and say what it took."""
    assert baseline.groups is not None
    names = np.array([f"a{at:07d}" for at in range(accounts)], dtype=object)
    facts = gather(names, np.zeros(accounts, np.uint64), None)
    with Spill() as spill:
        for first in range(0, accounts, _CHUNK):
            spill.write(signals(facts, first, min(first + _CHUNK, accounts), offices))
        spill.seal()
        start = time.perf_counter()
        busy = time.process_time()
        found = find_groups([spill.folder], facts, baseline.suite, baseline.kinds[POOLED], baseline.groups)
        wall, cpu = time.perf_counter() - start, time.process_time() - busy
    ring = facts.subject[-_RING:]
    return {
        "bench": "groups",
        "accounts": accounts,
        "offices": offices,
        "exchanges": accounts * _REQUESTS,
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "groups_tested": len(found),
        "ring_found": max(
            (float(np.isin(ring, one.members).mean()) for one in found.reported()), default=0.0
        ),
    }


def rows(sizes: list[int], offices: int) -> Iterator[dict[str, Any]]:
    """One row a size."""
    baseline = load_baseline(SHIPPED, default_suite(), shipped=True)
    for accounts in sizes:
        yield run(accounts, baseline, offices)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accounts", type=int, nargs="*", default=[25_000, 100_000])
    parser.add_argument("--offices", type=int, default=0)
    given = parser.parse_args()
    for row in rows(given.accounts, given.offices):
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
