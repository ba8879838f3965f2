"""Kafka: nothing committed that is not durable, nothing counted twice, bad messages named; also against a broker."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from pydantic import SecretStr

from kdguard.errors import ServiceError
from kdguard.service.api.settings import Kafka, Settings
from kdguard.service.ingest import kafka
from kdguard.service.ingest.journal import JournalFull
from kdguard.service.ingest.kafka import OTLP, Feeder
from tests.scoring_service import logs
from tests.scoring_service.running import Running, running, scored, until

LOG = logs.rows(61, accounts=3, thieves=1, requests=12)


@dataclass(frozen=True)
class Sent:
    """A message of partition `part`."""

    body: bytes | None
    part: int
    at: int
    wrong: str | None = None

    def error(self) -> str | None:
        return self.wrong

    def value(self) -> bytes | None:
        return self.body

    def topic(self) -> str:
        return "exchanges"

    def partition(self) -> int:
        return self.part

    def offset(self) -> int:
        return self.at


@dataclass
class Broker:
    """A log of messages by partition, and what the group has committed; consumers begin there."""

    messages: list[Sent]
    committed: dict[int, int] = field(default_factory=dict)
    refuses: bool = False

    def consumer(self) -> Group:
        return Group(self, dict(self.committed))


@dataclass
class Group:
    """The one consumer of a group."""

    broker: Broker
    places: dict[int, int]
    closed: bool = False

    def consume(self, num_messages: int, timeout: float) -> Sequence[Sent]:
        assert timeout <= 1
        got = [one for one in self.broker.messages if one.at >= self.places.get(one.part, 0)][:num_messages]
        self.places |= {one.part: one.at + 1 for one in got}
        return got

    def commit(self, *, message: Any, asynchronous: bool) -> None:
        assert not asynchronous
        if self.broker.refuses:
            raise RuntimeError("rebalanced")
        self.broker.committed[message.partition()] = message.offset() + 1

    def close(self) -> None:
        self.closed = True


def broker(bodies: Sequence[bytes | None]) -> Broker:
    """Bodies on two partitions in turn."""
    return Broker([Sent(body, at % 2, at // 2) for at, body in enumerate(bodies)])


def kept(format: str = "jsonl") -> tuple[Feeder, list[str]]:
    """A feeder, and the request ids that it kept."""
    ids: list[str] = []

    def keep(batches: Sequence[pa.RecordBatch]) -> None:
        ids.extend(str(name) for batch in batches for name in batch.column("request_id").to_pylist())

    return Feeder("test", lambda: pytest.fail("not to be asked"), format, keep), ids


def test_offsets_are_committed_after_what_they_stand_for_is_durable() -> None:
    source = broker([orjson.dumps(row, option=orjson.OPT_INDENT_2) for row in LOG])
    seen: list[dict[int, int]] = []

    def keep(batches: Sequence[pa.RecordBatch]) -> None:
        seen.append(dict(source.committed))

    consumer = source.consumer()
    assert Feeder("test", source.consumer, "jsonl", keep).step(consumer) == len(LOG)
    assert seen == [{}]
    assert source.committed == {0: (len(LOG) + 1) // 2, 1: len(LOG) // 2}
    assert source.consumer().consume(10, 1) == []


def test_what_is_not_durable_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_AGAIN_S", 0.01)
    source, tries = broker([orjson.dumps(row) for row in LOG]), []
    feeder = Feeder("test", source.consumer, "jsonl", lambda batches: full())

    def full() -> None:
        tries.append(dict(source.committed))
        if len(tries) == 3:
            feeder._ending.set()
        raise JournalFull("too much waits to be scored; come back later")

    feeder.step(source.consumer())
    assert tries == [{}, {}, {}]  # the same messages again and again, and nothing is passed over
    assert source.committed == {}
    assert feeder.failed == "JournalFull"


def test_bad_messages_are_named_counted_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    good = orjson.dumps(LOG[0])
    bodies = [good, b"no json, a secret", None, b"[7]", b"", good.replace(b"r-61", b"r-62")]
    source, (feeder, ids) = broker(bodies), kept()
    with caplog.at_level(logging.WARNING, "kdguard.service"):
        feeder.step(source.consumer())
    assert sorted(ids) == sorted([LOG[0]["request_id"], LOG[0]["request_id"].replace("r-61", "r-62")])
    assert source.committed == {0: 3, 1: 3}
    places = [(record.kd["partition"], record.kd["offset"]) for record in caplog.records]  # type: ignore[attr-defined]
    assert (1, 0) in places
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def test_exports_of_a_collector(caplog: pytest.LogCaptureFixture) -> None:
    source, (feeder, ids) = broker([b"\xff no export", b""]), kept(OTLP)
    with caplog.at_level(logging.WARNING, "kdguard.service"):
        feeder.step(source.consumer())
    assert ids == []
    assert source.committed == {0: 1, 1: 1}
    assert "message rejected" in caplog.messages


def test_an_error_of_the_broker_is_no_message() -> None:
    source = broker([])
    source.messages.append(Sent(None, 0, 0, "broker down"))
    feeder, _ = kept()
    with pytest.raises(ServiceError, match="broker down"):
        feeder.step(source.consumer())
    assert source.committed == {}


def requests(service: Running) -> dict[str, int]:
    """How many requests count for each account."""
    listed = service.client.get("/v1/accounts", params={"limit": 100}).json()["items"]
    return {one["subject"]: one["requests"] for one in listed}


def test_redelivered_after_a_crash_it_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_AGAIN_S", 0.05)
    source = broker([orjson.dumps(row) for row in LOG])
    source.refuses = True  # durable, and then the commit fails
    monkeypatch.setattr("kdguard.service.api.app.connected", lambda *_: source.consumer())
    told = Kafka(servers="x:1", topics=("exchanges",))
    with running(tmp_path, kafka=(told,)) as service:
        (feeder,) = service.app.state.service.feeders
        until(lambda: feeder.failed)
        ready = service.client.get("/readyz")
        assert ready.json()["checks"]["kafka exchanges"] == "failed: RuntimeError"
        source.refuses = False
        until(lambda: source.committed == {0: (len(LOG) + 1) // 2, 1: len(LOG) // 2})
        expected = Counter(row["account_id"] for row in LOG)
        until(lambda: requests(service) == expected)
        assert service.client.get("/v1/summary").json()["summary"]["exchanges"] > len(LOG)  # as many as came
        until(lambda: service.client.get("/readyz").json()["checks"]["kafka exchanges"] == "ok")
    assert service.app.state.service.feeders[0]._thread.is_alive() is False


def test_against_a_broker(tmp_path: Path) -> None:
    client = pytest.importorskip("confluent_kafka", reason="kdguard[kafka] is not installed")
    quiet = logging.getLogger("tests.kafka")
    producer = client.Producer({"test.mock.num.brokers": 1, "log_level": 0}, logger=quiet)  # librdkafka's own
    (node,) = producer.list_topics(timeout=20).brokers.values()
    for row in LOG:
        producer.produce("exchanges", orjson.dumps(row))
    producer.produce("exchanges", b"no json")
    assert producer.flush(20) == 0
    options = {"session.timeout.ms": SecretStr("3000"), "heartbeat.interval.ms": SecretStr("500")}
    told = Kafka(servers=f"{node.host}:{node.port}", topics=("exchanges",), options=options)
    with running(tmp_path / "one", kafka=(told,)) as service:
        scored(service.client, len(LOG))
    with running(tmp_path / "two", kafka=(told,)) as service:  # the group goes on where it was
        producer.produce("exchanges", orjson.dumps(LOG[0]))
        assert producer.flush(20) == 0
        scored(service.client, 1)


@pytest.mark.parametrize("format", ["none", "", "jsonl "])
def test_a_format_that_nobody_knows_is_refused_at_the_start(tmp_path: Path, format: str) -> None:
    told = Kafka(servers="x:1", topics=("exchanges",), format=format)
    with pytest.raises(ServiceError, match="known format"), running(tmp_path, kafka=(told,)):
        pass


def test_passwords_are_not_shown() -> None:
    told = Settings.model_validate(
        {"kafka": [{"servers": "x:1", "topics": ["a"], "options": {"sasl.password": "hunter2"}}]}
    )
    assert "hunter2" not in repr(told)
