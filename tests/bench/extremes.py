"""The two ends of what a log can be: `python -m tests.bench.extremes SHAPE --rows N`.

`one-each` is N accounts with one request, `one-account` is one account with N. The log is Parquet with 500-byte
prompts; the baseline is learnt from 620 simulated owners. Time and peak memory are those of `kdguard score --json`
as a process of its own, read from the kernel; on a busy machine the processor's seconds are the ones to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdguard.exchanges.schema import conform
from kdguard.exchanges.store import write
from kdguard.scoring.store import save_baseline
from tests.bench.scoring import measured, prompts
from tests.scoring.worlds import small_baseline

SHAPES = ("one-each", "one-account")
_BATCH_ROWS = 65_536
_FIRST_US = 1_788_220_800_000_000  # 2026-09-01
_MONTH_US = 28 * 86_400_000_000


def exchanges(shape: str, rows: int) -> Iterator[pa.RecordBatch]:
    """Exchanges over four weeks, in time order."""
    pool = pa.array(prompts(20_000, np.random.default_rng(0)))
    for first in range(0, rows, _BATCH_ROWS):
        at = np.arange(first, min(first + _BATCH_ROWS, rows))
        account = at if shape == "one-each" else np.zeros(len(at), np.int64)
        columns: dict[str, pa.Array[Any]] = {
            "request_id": pa.array([f"{n:032x}" for n in at]),
            "choice": pa.array(np.zeros(len(at), np.int32)),
            "time": pa.array(_FIRST_US + at * (_MONTH_US // rows), pa.timestamp("us", "UTC")),
            "account_id": pa.array([f"acct-{n}" for n in account]),
            "client_ip": pa.array([f"10.{n >> 8 & 255}.{n & 255}.7" for n in account]),
            "user_agent": pa.array(["python-httpx/0.28"] * len(at)),
            "model": pa.array(["m-large"] * len(at)),
            "prompt": pool.take(at % len(pool)),
            "output_tokens": pa.array(np.full(len(at), 200)),
            "status": pa.array(np.full(len(at), 200, np.int32)),
        }
        yield conform(pa.RecordBatch.from_pydict(columns))


def prepare(folder: Path) -> Path:
    """Learn and save the baseline."""
    place = folder / "baseline.safetensors"
    save_baseline(small_baseline(), place)
    return place


def write_log(shape: str, rows: int, folder: Path) -> Path:
    """Write the log."""
    place = folder / f"{shape}-{rows}.parquet"
    write(exchanges(shape, rows), place)
    return place


def score(log: Path, baseline: Path) -> dict[str, Any]:
    """Run `kdguard score` and return its seconds, its peak memory and what its summary counts."""
    command = [sys.executable, "-m", "kdguard", "score", str(log), "--baseline", str(baseline), "--json"]
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        summary: dict[str, Any] = {}
        for line in out:
            if line.startswith(b'{"summary"'):
                summary = json.loads(line)["summary"]
    return {
        "exit": child.returncode,
        "exchanges": summary.get("exchanges"),
        "accounts": summary.get("accounts"),
        "seconds": round(seconds),
        "cpu_seconds": round(used.ru_utime + used.ru_stime),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def main() -> None:
    """Print one JSON line a size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # In processes of their own: Linux counts the memory of whoever starts a process as that process's peak.
        baseline, _, _ = measured(prepare, Path(folder))
        for rows in chosen.rows:
            log, _, _ = measured(write_log, chosen.shape, rows, Path(folder))
            print(json.dumps({"bench": chosen.shape, "rows": rows} | score(log, baseline)), flush=True)
            log.unlink()


if __name__ == "__main__":
    main()
