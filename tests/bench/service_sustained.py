"""A sustained rate of exchanges with scoring on: memory, backlog and lag as time goes on, one JSON line a sample.

`python -m tests.bench service-load --minutes 10 [--rows 2000] [--pace 1]`. Signals of each account's last hour are held
in memory, so that memory grows for an hour of the log's time before it can be flat; `--pace 60` lets that hour pass in
a minute. Then a line with the slope of the resident memory over
the second half, with its 95% interval, and how long it took after the last acknowledgement until all was scored; and
one that compares the CPU seconds with those of `kdguard score` of the same log. `--jitter` is the mean of the seconds
by which rows come late, drawn from an exponential distribution: by default everything comes in order.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import httpx
import numpy as np
from scipy.stats import t as student

from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Process, client, started

SAMPLE_S = 5.0
_FEWEST_SAMPLES = 6
_TICKS = os.sysconf("SC_CLK_TCK")
ACCOUNTS = 500
_LIMITS = (
    ("KDGUARD_SERVICE_REQUESTS_PER_MINUTE", "10000000"),
    ("KDGUARD_SERVICE_REFRESH_S", "10"),
    ("KDGUARD_SERVICE_GROUPS_S", "120"),
    ("KDGUARD_SERVICE_SEAL_S", "2"),
)


def run(minutes: float, rows_a_second: int, pace: int, jitter_s: float) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        service, key = started(Path(folder) / "data", environment=_LIMITS)
        try:
            before_s = cpu_s_of(service.process.pid)
            with client(service.url, key or "") as asking, log.open("wb") as copy:
                bodies = _copied(even_bodies(rows_a_second, pace, jitter_s), copy)
                for line in sustained(service, asking, minutes * 60, rows_a_second, bodies):
                    print(json.dumps(line), flush=True)
            cpu_s = cpu_s_of(service.process.pid) - before_s
        finally:
            service.end()
        print(json.dumps(_compared(cpu_s, log)), flush=True)


def sustained(
    service: Process, asking: httpx.Client, seconds: float, rows_a_second: int, bodies: Iterable[bytes]
) -> Iterator[dict[str, float]]:
    """Send a body a second for so long; a sample every `SAMPLE_S`, and what came of it."""
    began, sent, refused = time.monotonic(), 0, 0
    samples: list[tuple[float, float]] = []
    next_sample = 0.0
    for second, body in enumerate(bodies):
        now = time.monotonic() - began
        if now >= seconds:
            break
        time.sleep(max(0.0, second - now))
        answer = asking.post("/v1/exchanges", content=body, headers=NDJSON)
        taken = answer.json()["accepted"] if answer.status_code == 200 else 0
        sent, refused = sent + taken, refused + rows_a_second - taken
        now = time.monotonic() - began
        if now >= next_sample:
            next_sample = now + SAMPLE_S
            samples.append((now, resident_mib(service.process.pid)))
            yield {
                "second": round(now, 1),
                "resident_mib": round(samples[-1][1], 1),
                "sent": sent,
                "unscored": sent - _scored(asking),
            }
    took_s, last = time.monotonic() - began, time.monotonic()
    while _scored(asking) < sent:
        time.sleep(0.2)
    yield {
        "seconds": round(took_s, 1),
        "rows_a_second": round(sent / took_s),
        "refused": refused,
        "lag_after_the_last_s": round(time.monotonic() - last, 1),
        **(slope(samples[len(samples) // 2 :]) if len(samples) >= _FEWEST_SAMPLES else {}),
    }


def _compared(cpu_s: float, log: Path) -> dict[str, float]:
    """CPU seconds of the service, from the socket to the verdict, beside those of `kdguard score` of the same log."""
    one = log.with_name("one.jsonl")
    with log.open("rb") as lines:
        one.write_bytes(lines.readline())
        rows = 1 + sum(1 for _ in lines)
    whole_s, start_s = _score_s(log), _score_s(one)
    return {
        "rows": rows,
        "service_cpu_s": round(cpu_s, 2),
        "score_cpu_s": round(whole_s, 2),
        "score_start_cpu_s": round(start_s, 2),
        "rate_beside_score": round(whole_s / cpu_s, 3),
        "rate_beside_score_without_start": round((whole_s - start_s) / cpu_s, 3),
    }


def _score_s(log: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "kdguard", "score", str(log), "--lateness", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_s_of(pid: int) -> float:
    """CPU seconds that a process has used, its threads' included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def slope(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Growth of memory by least squares, MiB an hour, with its 95% interval."""
    at_s, mib = np.array(samples).T
    spread = at_s - at_s.mean()
    growth = float(spread @ mib / (spread @ spread))
    left = mib - mib.mean() - growth * spread
    error = float(np.sqrt(left @ left / (len(mib) - 2) / (spread @ spread)))
    half = float(student.ppf(0.975, len(mib) - 2)) * error
    low, middle, high = (round(3600 * value, 1) for value in (growth - half, growth, growth + half))
    return {"mib_an_hour": middle, "mib_an_hour_low": low, "mib_an_hour_high": high}


def resident_mib(pid: int) -> float:
    """Resident memory of a process now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _copied(bodies: Iterable[bytes], copy: IO[bytes]) -> Iterator[bytes]:
    for body in bodies:
        yield body
        copy.write(body)  # only what was asked for after it: the last one is drawn and not sent


def even_bodies(rows_a_second: int, pace: int, jitter_s: float = 0.0) -> Iterator[bytes]:
    """A body a second, each `pace` seconds later in the log's time, of accounts that stay the same."""
    made = logs.rows(0, accounts=ACCOUNTS, thieves=5, requests=2 * rows_a_second // ACCOUNTS + 8)[
        :rows_a_second
    ]
    assert len(made) == rows_a_second
    draw = np.random.default_rng(0)
    second = int(logs.BEGIN.timestamp())
    while True:
        second += pace
        late_s = draw.exponential(jitter_s, rows_a_second) if jitter_s else np.zeros(rows_a_second)
        for at, row in enumerate(made):
            time_s = second + pace * at / rows_a_second - late_s[at]
            row |= {"request_id": f"{second}-{at}", "time": float(time_s)}
        yield logs.ndjson(made)


def _scored(asking: httpx.Client) -> int:
    response = asking.get("/v1/summary")
    told = response.json()["summary"] if response.status_code == 200 else {}
    return int(told.get("exchanges", 0)) + int(told.get("late_exchanges") or 0)
