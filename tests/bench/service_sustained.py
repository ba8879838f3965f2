"""A sustained rate of exchanges with scoring on: memory, backlog and lag as time goes on, one JSON line a sample.

`python -m tests.bench service-load --minutes 10 [--rows 2000] [--pace 1]`. Signals of each account's last hour are held
in memory, so that memory grows for an hour of the log's time before it can be flat; `--pace 60` lets that hour pass in
a minute. The last line has the slope of the resident memory over
the second half, with its 95% interval, and how long it took after the last acknowledgement until all was scored.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
from scipy.stats import t as student

from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Process, client, started

SAMPLE_S = 5.0
ACCOUNTS = 500
_LIMITS = (
    ("KDGUARD_SERVICE_REQUESTS_PER_MINUTE", "10000000"),
    ("KDGUARD_SERVICE_REFRESH_S", "10"),
    ("KDGUARD_SERVICE_GROUPS_S", "120"),
    ("KDGUARD_SERVICE_SEAL_S", "2"),
)


def run(minutes: float, rows_a_second: int, pace: int) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder:
        service, key = started(Path(folder) / "data", environment=_LIMITS)
        try:
            with client(service.url, key or "") as asking:
                for line in sustained(service, asking, minutes * 60, rows_a_second, pace):
                    print(json.dumps(line), flush=True)
        finally:
            service.end()


def sustained(
    service: Process, asking: httpx.Client, seconds: float, rows_a_second: int, pace: int = 1
) -> Iterator[dict[str, float]]:
    """Send for so long; a sample every `SAMPLE_S`, and what came of it."""
    began, sent, refused = time.monotonic(), 0, 0
    samples: list[tuple[float, float]] = []
    next_sample = 0.0
    for second, body in enumerate(_bodies(rows_a_second, pace)):
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
        **slope(samples[len(samples) // 2 :]),
    }


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


def _bodies(rows_a_second: int, pace: int) -> Iterator[bytes]:
    """A body a second, each `pace` seconds later in the log's time, of accounts that stay the same."""
    made = logs.rows(0, accounts=ACCOUNTS, thieves=5, requests=2 * rows_a_second // ACCOUNTS + 8)[
        :rows_a_second
    ]
    assert len(made) == rows_a_second
    second = int(logs.BEGIN.timestamp())
    while True:
        second += pace
        for at, row in enumerate(made):
            row |= {"request_id": f"{second}-{at}", "time": second + pace * at / rows_a_second}
        yield logs.ndjson(made)


def _scored(asking: httpx.Client) -> int:
    response = asking.get("/v1/summary")
    told = response.json()["summary"] if response.status_code == 200 else {}
    return int(told.get("exchanges", 0)) + int(told.get("late_exchanges") or 0)
