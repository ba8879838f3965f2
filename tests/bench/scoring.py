"""Speed and memory of scoring, one JSON line a result: `python -m tests.bench [--rows N]`.

Throughput is end to end on one process: bytes on disk to p-values, every text feature on, 500-byte prompts. The
ratio is against scikit-learn's HashingVectorizer (words and bigrams) over the same prompts in the same run, since
seconds differ between machines.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from sklearn.feature_extraction.text import HashingVectorizer

import kdguard
from kdguard.cli.session import open_baseline
from kdguard.exchanges.store import write
from kdguard.scoring.score import fold_log, score_accounts
from kdguard.scoring.spill import Spill
from kdguard.simulate.pools import Pools
from tests.bench.state import sizes

PROMPT_BYTES = 500


def prompts(count: int, rng: np.random.Generator) -> list[str]:
    """Prompts of about 500 bytes, joined from the project's own texts."""
    texts = Pools("test", None).draw("chat", 4_000, rng) + Pools("test", None).draw("code", 4_000, rng)
    joined = []
    for _ in range(count):
        picks: list[str] = []
        while sum(map(len, picks)) < PROMPT_BYTES:
            picks.append(texts[int(rng.integers(len(texts)))])
        joined.append(" ".join(picks)[:PROMPT_BYTES])
    return joined


def write_log(path: Path, rows: int, accounts: int) -> None:
    """Write a flat JSONL log."""
    rng = np.random.default_rng(0)
    pool = prompts(20_000, rng)
    with path.open("wb") as out:
        for at in range(rows):
            account = int(rng.integers(accounts))
            out.write(
                orjson.dumps(
                    {
                        "request_id": f"{at:032x}",
                        "time": f"2026-09-{1 + at * 28 // rows:02d}T{at % 24:02d}:{at // 24 % 60:02d}:00Z",
                        "account_id": f"acct-{account}",
                        "model": "m-large",
                        "prompt": pool[at % len(pool)],
                        "response": "ok",
                        "input_tokens": 120,
                        "output_tokens": 200,
                        "status": 200,
                        "client_ip": f"10.{account % 250}.1.7",
                        "user_agent": "python-httpx/0.28",
                    }
                )
                + b"\n"
            )


def score(path: str) -> int:
    """Score one file with the shipped baseline; return the exchanges read."""
    baseline = open_baseline(None)
    with Spill() as spill:
        profiles, tally = fold_log(kdguard.read(path), baseline, spill)
        score_accounts(profiles, baseline)
    return tally.exchanges


def _timed(task: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float, float]:
    begin = time.perf_counter()
    value = task(*arguments)
    seconds = time.perf_counter() - begin
    return value, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(task: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Run a task in a fresh process; return its value, seconds, and peak memory in MiB."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, task, arguments).result(timeout=1800)


def results(rows: int) -> Iterator[dict[str, Any]]:
    """Measure everything."""
    pool = prompts(5_000, np.random.default_rng(1))
    vectorizer = HashingVectorizer(ngram_range=(1, 2))
    begin = time.perf_counter()
    vectorizer.transform(pool)
    reference = len(pool) / (time.perf_counter() - begin)
    yield {"bench": "HashingVectorizer words 1-2", "prompts_per_s": round(reference)}
    with tempfile.TemporaryDirectory() as folder:
        for count in (rows // 4, rows):
            log = Path(folder) / f"{count}.jsonl"
            write_log(log, count, accounts=max(count // 100, 1))
            parquet = log.with_suffix(".parquet")
            write(iter(kdguard.read(str(log))), parquet)
            for path in (log, parquet):
                done, seconds, peak_mib = measured(score, str(path))
                yield {
                    "bench": f"score {path.suffix[1:]}",
                    "exchanges": done,
                    "exchanges_per_s": round(done / seconds),
                    "ratio_to_vectorizer": round(done / seconds / reference, 2),
                    "peak_mib": round(peak_mib),
                }
    yield from sizes()
    yield {
        "bench": "versions",
        "kdguard": kdguard.__version__,
        "pyarrow": pa.__version__,
        "numpy": np.__version__,
    }


def main() -> None:
    """Print one JSON line a result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400_000)
    for result in results(parser.parse_args().rows):
        print(json.dumps(result), flush=True)
