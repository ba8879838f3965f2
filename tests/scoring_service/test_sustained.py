"""A sustained rate, shortly; `python -m tests.bench service-load --minutes N --pace 60` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import service_sustained
from tests.bench.service_sustained import even_bodies
from tests.scoring_service.running import client, started


def test_a_sustained_rate_is_scored_within_a_minute_and_memory_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_sustained, "SAMPLE_S", 1.0)
    service, key = started(tmp_path / "data")
    try:
        with client(service.url, key or "") as asking:
            told = list(service_sustained.sustained(service, asking, 12.0, 200, even_bodies(200, pace=1_200)))
    finally:
        service.end()
    *samples, last = told
    assert last["refused"] == 0
    assert last["lag_after_the_last_s"] < 60.0
    grown = samples[-1]["resident_mib"] - samples[len(samples) // 2]["resident_mib"]
    assert grown < 64.0, f"the process grew by {grown:.0f} MiB in six seconds"
