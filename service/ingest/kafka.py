"""Exchanges from Kafka: at least once, so that a message counts once whatever happens.

An offset is committed only after the exchanges of its message, and of all before it, are durable in the journal. What
was consumed and not committed comes again after a crash or a rebalance, and counts once, as all that is sent twice. A
message that cannot be read is logged by its place, counted, and passed over: it must not stop what comes after it.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import pyarrow as pa

from kdguard.errors import InputError, ServiceError
from kdguard.readers.rejects import Unfit
from kdguard.service.ingest.journal import JournalFull
from kdguard.service.ingest.reading import Read, read_ndjson, read_traces
from kdguard.service.out.metrics import INGESTED, KAFKA_FAILURES
from kdguard.service.store.api_keys import now_us

LOG = logging.getLogger("kdguard.service")
OTLP = "otlp_proto"
"""Format of messages that are OTLP exports in protobuf, as a collector's Kafka exporter sends them."""
MOST_AT_ONCE = 2_000
_MOST_LOGGED = 20
_WAIT_S = 1.0
_AGAIN_S = 5.0
_PATIENCE_S = 5.0


class Message(Protocol):
    """What a consumer hands out; see `confluent_kafka.Message`."""

    def error(self) -> Any:
        """Why this is no message; None = it is one."""

    def value(self) -> bytes | None:
        """Its body."""

    def topic(self) -> str | None:
        """Where it stood."""

    def partition(self) -> int | None:
        """Where it stood."""

    def offset(self) -> int | None:
        """Where it stood."""


class Consumer(Protocol):
    """What is needed of a consumer; see `confluent_kafka.Consumer`."""

    def consume(self, num_messages: int, timeout: float) -> Sequence[Message]:
        """The next messages; few or none after a while."""

    def commit(self, *, message: Message, asynchronous: bool) -> Any:
        """Note that everything of a partition up to a message is done."""

    def close(self) -> None:
        """Leave the group."""


@dataclass(slots=True)
class Feeder:
    """Takes exchanges of one tenant in, in a thread of its own.

    Attributes:
        name: For logs.
        connect: Opens a consumer that is subscribed.
        format: Of the messages: a name in `kdguard.readers.FORMATS`, or `OTLP`.
        keep: Makes exchanges durable.
        failed: Why the latest step failed, by kind; None = it did not.
    """

    name: str
    connect: Callable[[], Consumer]
    format: str
    keep: Callable[[Sequence[pa.RecordBatch]], None]
    failed: str | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._work, name=f"kafka {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way; what was not committed comes again."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def step(self, consumer: Consumer) -> int:
        """Take the next messages in; returns how many there were."""
        got = consumer.consume(MOST_AT_ONCE, _WAIT_S)
        for message in got:
            if message.error() is not None:
                raise ServiceError(f"Kafka: {message.error()}")
        if got and self._kept(self._read(got)):
            for message in _last_of_each(got).values():
                consumer.commit(message=message, asynchronous=False)
        return len(got)

    def _kept(self, read: Read) -> bool:
        """Make exchanges durable, however long that takes; False where the service ends before."""
        while read.batches:
            try:
                self.keep(read.batches)
                break
            except (JournalFull, OSError) as error:
                self._fail(error)
                if self._ending.wait(_AGAIN_S):
                    return False
        INGESTED.labels("accepted").inc(read.exchanges)
        INGESTED.labels("rejected").inc(read.errors.total)
        INGESTED.labels("skipped").inc(read.errors.skipped)
        return True

    def _read(self, got: Sequence[Message]) -> Read:
        """Exchanges of some messages; those that hold none are named."""
        if self.format == OTLP:
            return self._exports(got)
        # one line a message: a line break between the parts of a JSON document is as good as a space
        lines = b"\n".join((message.value() or b"").replace(b"\n", b" ") for message in got)
        read = read_ndjson(lines, self.format, now_us())
        self._name([(got[line - 1], why) for line, why in read.errors.lines if line])
        return read

    def _exports(self, got: Sequence[Message]) -> Read:
        batches: list[pa.RecordBatch] = []
        whole = Read(batches)
        for message in got:
            try:
                read = read_traces(message.value() or b"", now_us(), protobuf=True)
            except Unfit as unfit:
                read = Read(())
                read.errors.add("-", 1, unfit)
            batches.extend(read.batches)
            whole.errors.counts.update(read.errors.counts)
            self._name([(message, why) for _, why in read.errors.lines])
        return whole

    def _name(self, rejected: Sequence[tuple[Message, str]]) -> None:
        for message, why in rejected[:_MOST_LOGGED]:
            LOG.warning("message rejected", extra={"kd": _place(message) | {"reason": why[:300]}})

    def _work(self) -> None:
        while not self._ending.is_set():
            consumer: Consumer | None = None
            try:
                consumer = self.connect()
                while not self._ending.is_set():
                    self.step(consumer)
                    self.failed = None
            except Exception as error:  # whatever it was, a consumer begins anew, from what is committed
                self._fail(error)
                self._ending.wait(_AGAIN_S)
            finally:
                if consumer is not None:
                    consumer.close()

    def _fail(self, error: Exception) -> None:
        self.failed = type(error).__name__
        KAFKA_FAILURES.labels(self.failed).inc()
        told = str(error)[:300] if isinstance(error, InputError) else type(error).__name__
        LOG.error("kafka failed", extra={"kd": {"consumer": self.name, "error": told}})


def connected(servers: str, topics: Sequence[str], group: str, options: Mapping[str, str]) -> Consumer:
    """A consumer of `confluent_kafka`, subscribed; it commits only when told.

    Raises:
        ServiceError: The extra is not installed.
    """
    check_installed()
    from confluent_kafka import Consumer as Client

    client = Client(
        {
            "auto.offset.reset": "earliest",
            **options,
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
        }
    )
    client.subscribe(list(topics))
    return cast(Consumer, client)


def check_installed() -> None:
    """Refuse to go on without the extra.

    Raises:
        ServiceError: It is not installed.
    """
    if importlib.util.find_spec("confluent_kafka") is None:
        raise ServiceError("reading Kafka needs the package 'confluent-kafka': install kdguard[kafka]")


def _last_of_each(got: Sequence[Message]) -> dict[tuple[str | None, int | None], Message]:
    """The last message of each partition."""
    return {(message.topic(), message.partition()): message for message in got}


def _place(message: Message) -> dict[str, Any]:
    return {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
