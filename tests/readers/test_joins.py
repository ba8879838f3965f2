"""Formats whose exchanges are spread over several records: any order of the files, and no record lost unseen."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from kdguard.readers import Rejects, read, spill
from tests.readers.log_samples import LOGS, rows_of

LEGACY = [LOGS / "langfuse-legacy.observations.jsonl", LOGS / "langfuse-legacy.traces.jsonl"]


def test_langfuse_observations_take_user_and_session_from_their_trace() -> None:
    rejects = Rejects()
    rows = {row["request_id"]: row for row in rows_of(read(LEGACY, rejects=rejects))}
    who = {name: (row.get("account_id"), row.get("session_id")) for name, row in rows.items()}
    assert who == {
        "gen-1": ("user-9", "sess-4"),
        "gen-2": ("user-9", "sess-4"),
        "gen-3": (None, "tr-lost"),
        "gen-4": ("user-12", "tr-api"),
        "gen-5": ("user-12", "sess-7"),
    }
    assert rows["gen-1"]["prompt"] == "Define entropy."
    assert rows["gen-5"]["response"] == "Neon."
    assert rejects.total == 0


def test_the_order_of_the_files_changes_nothing() -> None:
    assert rows_of(read(LEGACY)) == rows_of(read(LEGACY[::-1]))


def test_observations_alone_are_read_without_an_account() -> None:
    rows = rows_of(read(LEGACY[:1]))
    assert len(rows) == 4
    assert not any("account_id" in row for row in rows)


def test_more_records_of_one_exchange_than_may_be_are_rejected_and_not_lost_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "MAX_PARTS", 3)
    log = tmp_path / "log.jsonl"
    start = {"trace_id": "t", "type": "GENERATION", "start_time": "2026-01-15 10:45:00", "input": "x"}
    log.write_bytes(b"\n".join(orjson.dumps(start | {"id": f"g{at}"}) for at in range(5)))
    rejects = Rejects()
    rows = rows_of(read([log], rejects=rejects))
    assert len(rows) == 3
    assert rejects.messages() == [f"{log}:1: records of one exchange must be at most 3, got 2 more"]


def test_a_response_body_that_stops_before_its_end_is_known_to_be_cut(tmp_path: Path) -> None:
    record = orjson.loads((LOGS / "azure-openai.json").read_bytes().splitlines()[0])
    record["properties"]["requestBody"] = '{"messages": [{"role": "user", "content": "hello"}]}'
    record["properties"]["responseBody"] = '{"choices": [{"message": {"content": "Half an ans'
    log = tmp_path / "log.json"
    log.write_bytes(orjson.dumps(record))
    row = rows_of(read([log], "azure-openai"))[0]
    assert row["prompt"] == "hello"
    assert row["truncated"]
