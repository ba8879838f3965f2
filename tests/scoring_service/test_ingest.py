"""What comes in: every line answered for, nothing twice, nothing that costs more than it should."""

from __future__ import annotations

import base64
import gzip
import io
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pytest
import zstandard
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from kdguard.exchanges.schema import from_rows
from kdguard.service.ingest.reading import read_traces
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Running, running, scored

ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
LOG = logs.rows(21, accounts=3, thieves=1, requests=8)


def arrow(rows: list[dict[str, object]]) -> bytes:
    plain = [{**row, "time": None} for row in rows]
    batch = from_rows(plain)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def post(service: Running, content: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.client.post("/v1/exchanges", content=content, headers=NDJSON | named)


def test_bad_lines_are_named_and_do_not_stop_the_rest(service: Running) -> None:
    content = logs.ndjson(LOG[:2]) + b'{"prompt": \n' + b'{"account_id": "x", "n": "many", "prompt": "p"}\n'
    told = post(service, content).json()
    assert (told["accepted"], told["rejected"]) == (2, 2)
    assert [error["line"] for error in told["errors"]] == [3, 4]


def test_records_of_another_kind_are_counted_so_that_a_wrong_format_is_noticed(service: Running) -> None:
    other = b'{"request_id": "r-1"}\n{}\n'
    told = post(service, logs.ndjson(LOG[:2]) + other).json()
    assert (told["accepted"], told["rejected"], told["skipped"]) == (2, 0, 2)
    assert post(service, other).json()["skipped"] == 2
    assert 'kdguard_exchanges_total{outcome="skipped"}' in service.client.get("/metrics").text


def test_a_body_without_one_good_line_is_refused(service: Running) -> None:
    response = post(service, b"no json\n")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["line"] == 1


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_packed_bodies(service: Running, encoding: str) -> None:
    content = logs.ndjson(LOG)
    packed = gzip.compress(content) if encoding == "gzip" else zstandard.compress(content)
    assert post(service, packed, content_encoding=encoding).json()["accepted"] == len(LOG)
    assert post(service, packed[:-9], content_encoding=encoding).status_code == 422


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_for_what_it_unpacks_to(tmp_path: Path, encoding: str) -> None:
    zeros = bytes(64 << 20)
    bomb = gzip.compress(zeros) if encoding == "gzip" else zstandard.compress(zeros)
    with running(tmp_path, most_body_bytes=1 << 20) as service:
        response = post(service, bomb, content_encoding=encoding)
        assert response.status_code == 413
        assert service.client.get("/livez").status_code == 200


def test_nesting_without_end_is_a_bad_line(service: Running) -> None:
    deep = b'{"account_id": "x", "prompt": "p", "tools": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    told = post(service, deep + logs.ndjson(LOG[:1])).json()
    assert (told["accepted"], told["rejected"]) == (1, 1)


def test_other_media_types_and_encodings_are_refused(service: Running) -> None:
    assert post(service, b"x", content_type="text/html").status_code == 415
    assert post(service, b"x", content_encoding="br").status_code == 422
    assert (
        service.client.post("/v1/exchanges?format=nothing", content=b"{}\n", headers=NDJSON).status_code
        == 422
    )


def test_too_long_a_body_is_refused_before_it_is_read(service: Running) -> None:
    headers = {"content-type": "application/json"}
    response = service.client.post("/v1/decide", content=b"x" * (2 << 20), headers=headers)
    assert response.status_code == 413


def test_arrow_in_columns(service: Running) -> None:
    response = service.client.post("/v1/exchanges", content=arrow(list(LOG)), headers=ARROW)
    assert response.json()["accepted"] == len(LOG)
    broken = service.client.post("/v1/exchanges", content=arrow(list(LOG))[:200], headers=ARROW)
    assert broken.status_code == 422


def test_an_idempotency_key_gets_its_answer_again(service: Running) -> None:
    first = post(service, logs.ndjson(LOG[:3]), idempotency_key="k-1")
    again = post(service, logs.ndjson(LOG[:3]), idempotency_key="k-1")
    other = post(service, logs.ndjson(LOG[:4]), idempotency_key="k-1")
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 422


def test_what_is_sent_again_counts_once(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        for _ in range(3):
            post(service, logs.ndjson(LOG))
        summary = scored(service.client, 3 * len(LOG))
        page = service.client.get("/v1/accounts").json()["items"]
    assert sum(item["requests"] for item in page) == len(LOG)
    assert summary["accounts"] == 4


def spans() -> dict[str, Any]:
    return json.loads((Path(__file__).parents[2] / "fixtures/logs/otel.json").read_text().splitlines()[0])


def test_otlp_as_json_and_as_protobuf(service: Running) -> None:
    document = spans()
    told = service.client.post("/v1/traces", json=document)
    assert (told.status_code, told.json()) == (200, {})
    message = ParseDict(_with_base64_ids(document), ExportTraceServiceRequest())
    headers = {"content-type": "application/x-protobuf"}
    binary = service.client.post("/v1/traces", content=message.SerializeToString(), headers=headers)
    assert binary.status_code == 200
    assert ExportTraceServiceResponse.FromString(binary.content).partial_success.rejected_spans == 0
    assert service.client.post("/v1/traces", content=b"\xff\xff", headers=headers).status_code == 422


def test_protobuf_reads_as_json_does() -> None:
    """Every column alike, over values of each kind that attributes have."""
    document = spans()
    (first, *_) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    first["attributes"] += [
        {"key": "gen_ai.tool.definitions", "value": {"arrayValue": {"values": [{"kvlistValue": {
            "values": [{"key": "strict", "value": {"boolValue": True}}]}}]}}},
        {"key": "gen_ai.request.top_p", "value": {"doubleValue": 0.25}},
        {"key": "tenant.id", "value": {"bytesValue": "b3JnLTE="}},
    ]  # fmt: skip
    message = ParseDict(_with_base64_ids(document), ExportTraceServiceRequest())
    read = [
        read_traces(body, 1_790_000_000_000_000, protobuf=protobuf)
        for body, protobuf in ((orjson.dumps(document), False), (message.SerializeToString(), True))
    ]
    rows = [pa.Table.from_batches(one.batches).to_pylist() for one in read]
    assert rows[0] == rows[1]
    assert (rows[0][0]["tools"], rows[0][0]["org_id"]) == ('[{"strict":true}]', "b3JnLTE=")


def test_backlog_is_bounded(tmp_path: Path) -> None:
    with running(tmp_path, most_backlog_bytes=30_000, scores=False) as service:
        statuses = [post(service, logs.ndjson(LOG[:4])).status_code for _ in range(16)]
        last = post(service, logs.ndjson(LOG[:4]))
        ready = service.client.get("/readyz")
    assert statuses[0] == 200
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) >= 1
    assert last.json()["type"].endswith("backlog")
    assert ready.status_code in (200, 503)


def test_a_full_disk_takes_nothing_and_recovers(tmp_path: Path) -> None:
    with running(tmp_path, least_free_bytes=1 << 60) as service:
        response = post(service, logs.ndjson(LOG))
        ready = service.client.get("/readyz").json()
    assert response.status_code == 503
    assert "retry-after" in response.headers
    assert "must be" in ready["checks"]["disk"]
    with running(tmp_path) as service:
        assert post(service, logs.ndjson(LOG)).status_code == 200
        scored(service.client, len(LOG))


def test_a_time_far_ahead_is_refused(service: Running) -> None:
    row = {**LOG[0], "time": "2099-01-01T00:00:00Z"}
    response = post(service, orjson.dumps(row))
    assert response.status_code == 422
    assert "a day ahead" in response.json()["errors"][0]["reason"]


def _with_base64_ids(document: dict[str, Any]) -> dict[str, Any]:
    text = json.loads(json.dumps(document))
    for resource in text["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if span.get(name):
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return dict(text)
