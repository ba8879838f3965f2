"""Load on the scoring service from a second process, beside a bare FastAPI route in the same run.

`python -m tests.bench service-load [--seconds 5] [--connections 8] [--split] [--only NAME]`: one JSON line a path, with
wall figures and the CPU seconds of the server, which are what can be compared on a busy machine. Each path is asked as
fast as it answers; decisions also at `--rate` a second, arriving at random whether or not earlier ones were answered
(an open loop), each timed from its arrival. `--minutes N` sends at a sustained rate instead: see `service_sustained`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kdguard.exchanges.schema import EXCHANGES
from tests.bench import service_sustained
from tests.bench.service_sustained import cpu_s_of
from tests.scoring_service import logs
from tests.scoring_service.running import started

_BARE = """
import sys, uvicorn
from fastapi import FastAPI, Request
app = FastAPI()
@app.post("/bare")
async def bare(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


@dataclass(frozen=True)
class Load:
    """What is sent over and over.

    Attributes:
        name: In the result.
        path, kind: Route and media type.
        bodies: Sent in turn.
        rows: Exchanges, spans or decisions in each.
        rate: Requests a second that arrive; None = the next one after each answer.
    """

    name: str
    path: str
    kind: str
    bodies: Sequence[bytes]
    rows: int
    rate: float | None = None


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument(
        "--split", action="store_true", help="leave scoring out: what taking in costs by itself"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="of the paths, as the result names them"
    )
    parser.add_argument("--rate", type=float, default=500.0, help="decisions a second of the open loop")
    parser.add_argument(
        "--minutes", type=float, help="send for so long at a sustained rate, and watch memory and lag"
    )
    parser.add_argument("--rows", type=int, default=2_000, help="exchanges a second of the sustained rate")
    parser.add_argument(
        "--pace", type=int, default=1, help="seconds of the log a second, of the sustained rate"
    )
    parser.add_argument(
        "--jitter",
        type=float,
        default=0.0,
        help="mean seconds by which rows come late, of the sustained rate",
    )
    given = parser.parse_args()
    if given.minutes is not None:
        service_sustained.run(given.minutes, given.rows, given.pace, given.jitter)
        return
    loads = [_decide(), replace(_decide(), name="decide, open loop", rate=given.rate), _ndjson(), _arrow()]
    loads += [_spans(), _binary_spans()]
    loads = [load for load in loads if not given.only or load.name in given.only]
    with tempfile.TemporaryDirectory() as folder:
        limits = (("KDGUARD_SERVICE_REQUESTS_PER_MINUTE", "10000000"), ("KDGUARD_SERVICE_REFRESH_S", "10"))
        split = ("--split",) if given.split else ()
        service, key = started(Path(folder) / "data", *split, environment=limits)
        bare, bare_port = _bare()
        try:
            port = int(service.url.rsplit(":", 1)[1])
            for load in loads:
                told = _measured(service.process.pid, port, load, key or "", given)
                same = replace(load, name="bare", path="/bare")
                beside = _measured(bare.pid, bare_port, same, "", given)
                told["cpu_ratio_to_bare_route"] = round(
                    told["cpu_ms_a_request"] / beside["cpu_ms_a_request"], 2
                )
                told["rate_ratio_to_bare_route"] = round(told["rows_a_second"] / beside["rows_a_second"], 3)
                named = {"name": load.name, **told}
                print(json.dumps(named | {"load_average": round(os.getloadavg()[0], 1)}), flush=True)
            if not given.split:
                print(json.dumps(_lag(service.url, key or "")), flush=True)
        finally:
            bare.kill()
            bare.wait()
            service.kill()


def _measured(pid: int, port: int, load: Load, key: str, given: argparse.Namespace) -> dict[str, float]:
    head = f"POST {load.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: {load.kind}\r\n"
    sent = [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in load.bodies]
    asyncio.run(_hammer(port, sent, given.connections, 1.0))  # warm
    before, began = cpu_s_of(pid), time.perf_counter()
    if load.rate is None:
        took_s, refused = asyncio.run(_hammer(port, sent, given.connections, given.seconds))
    else:
        took_s, refused = asyncio.run(_arrive(port, sent, load.rate, given.seconds))
    wall_s, cpu_s = time.perf_counter() - began, cpu_s_of(pid) - before
    done = len(took_s)
    return {
        "requests": done,
        "refused": refused,
        "rows_a_second": round((done - refused) * load.rows / wall_s),
        "rows_a_cpu_second": round((done - refused) * load.rows / max(cpu_s, 1e-9)),
        "cpu_ms_a_request": round(cpu_s * 1e3 / max(done, 1), 3),
        "p50_ms": round(float(np.percentile(took_s, 50)) * 1e3, 2),
        "p99_ms": round(float(np.percentile(took_s, 99)) * 1e3, 2),
    }


async def _hammer(
    port: int, sent: Sequence[bytes], connections: int, seconds: float
) -> tuple[list[float], int]:
    took_s: list[float] = []
    refused = 0
    ends = time.perf_counter() + seconds

    async def one(at: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        while time.perf_counter() < ends:
            began = time.perf_counter()
            writer.write(sent[at % len(sent)])
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
            took_s.append(time.perf_counter() - began)
            refused += head[9:12] != b"200"
            at += connections
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one(at) for at in range(connections)))
    return took_s, refused


async def _arrive(
    port: int, sent: Sequence[bytes], rate: float, seconds: float, connections: int = 64
) -> tuple[list[float], int]:
    """Requests at the moments of a Poisson process; a late answer delays nobody but those it keeps waiting."""
    moments = np.cumsum(np.random.default_rng(0).exponential(1 / rate, round(rate * seconds)))
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    for one in opened:
        free.put_nowait(one)
    took_s: list[float] = []
    refused = 0
    began = time.perf_counter()

    async def ask(at: int, due: float) -> None:
        nonlocal refused
        reader, writer = await free.get()
        writer.write(sent[at % len(sent)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        took_s.append(time.perf_counter() - began - due)
        refused += head[9:12] != b"200"
        free.put_nowait((reader, writer))

    async with asyncio.TaskGroup() as asking:
        for at, due in enumerate(moments):
            await asyncio.sleep(max(0.0, due - (time.perf_counter() - began)))
            asking.create_task(ask(at, float(due)))
    for _, writer in opened:
        writer.close()
    return took_s, refused


def _lag(url: str, key: str) -> dict[str, float | str]:
    """Seconds from the last acknowledgement to a look that counts everything."""
    began = time.perf_counter()
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=120) as asking:
        while time.perf_counter() - began < 600:
            ready = asking.get("/readyz").json()["checks"]
            metrics = asking.get("/metrics").text
            waiting = float(metrics.split("\nkdguard_backlog_bytes ")[1].split("\n")[0])
            if ready["backlog"] == "ok" and waiting == 0:
                break
            time.sleep(0.5)
    return {"name": "backlog is encoded", "seconds_after_the_load": round(time.perf_counter() - began, 1)}


def _rows(count: int, seed: int) -> list[dict[str, object]]:
    made = logs.rows(seed, accounts=200, thieves=0, requests=2 * count // 200 + 8)[:count]
    for at, row in enumerate(made):
        row["request_id"] = f"{seed}-{at}"
        row["prompt"] = (str(row["prompt"]) + " ") * 5
    return [dict(row) for row in made]


def _decide() -> Load:
    bodies = [
        json.dumps(
            {"account_id": f"honest-{at}", "texts": ["please fix the bug in my function " * 12]}
        ).encode()
        for at in range(50)
    ]
    return Load("decide", "/v1/decide", "application/json", bodies, 1)


def _ndjson() -> Load:
    bodies = [logs.ndjson(_rows(1_000, seed)) for seed in range(8)]
    return Load("ndjson", "/v1/exchanges", "application/x-ndjson", bodies, len(_rows(1_000, 0)))


def _arrow() -> Load:
    bodies = []
    for seed in range(4):
        rows = _rows(10_000, seed)
        times = pa.array([row["time"] for row in rows], pa.string()).cast(pa.timestamp("us", "UTC"))
        names = [name for name in EXCHANGES.names if name in rows[0] and name != "time"]
        columns = {name: pa.array([row[name] for row in rows], EXCHANGES.field(name).type) for name in names}
        table = pa.table({**columns, "time": times})
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        bodies.append(sink.getvalue())
    return Load(
        "arrow", "/v1/exchanges", "application/vnd.apache.arrow.stream", bodies, len(_rows(10_000, 0))
    )


def _spans() -> Load:
    def attribute(name: str, value: str) -> dict[str, object]:
        return {"key": name, "value": {"stringValue": value}}

    def span(row: dict[str, object]) -> dict[str, object]:
        said = json.dumps([{"role": "user", "parts": [{"type": "text", "content": row["prompt"]}]}])
        told = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "user.id": str(row["account_id"]),
        }
        told |= {"gen_ai.response.id": str(row["request_id"]), "gen_ai.input.messages": said}
        ids = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}
        times = {"startTimeUnixNano": "1790000000000000000", "endTimeUnixNano": "1790000001000000000"}
        return ids | times | {"name": "chat m", "attributes": [attribute(*pair) for pair in told.items()]}

    bodies = [
        json.dumps(
            {"resourceSpans": [{"scopeSpans": [{"spans": [span(row) for row in _rows(512, seed)]}]}]}
        ).encode()
        for seed in range(8)
    ]
    return Load("otlp json", "/v1/traces", "application/json", bodies, 512)


def _binary_spans() -> Load:
    def binary(body: bytes) -> bytes:
        document = json.loads(body)
        for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            span |= {
                name: base64.b64encode(bytes.fromhex(span[name])).decode() for name in ("traceId", "spanId")
            }
        return bytes(ParseDict(document, ExportTraceServiceRequest()).SerializeToString())

    load = _spans()
    return replace(
        load, name="otlp protobuf", kind="application/x-protobuf", bodies=list(map(binary, load.bodies))
    )


def _bare() -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", _BARE, str(port)])
    for _ in range(600):
        try:
            httpx.post(f"http://127.0.0.1:{port}/bare", content=b"x")
            break
        except httpx.TransportError:
            time.sleep(0.1)
    return process, port


if __name__ == "__main__":
    main()
