"""A loopback server that answers as it is told to, one body or behaviour a request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes | dict[str, Any], dict[str, str]]


@dataclass
class Script:
    """What the server was asked, and what it says.

    Attributes:
        reply: From the number of the request and its body to status, body and headers.
        delay_s: Seconds before every reply.
        trickle_s: Seconds before every byte of a body.
    """

    reply: Callable[[int, dict[str, Any]], Reply]
    delay_s: float = 0.0
    trickle_s: float = 0.0
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def chat(text: str = "yes", **choice: Any) -> dict[str, Any]:
    """A chat completion with one choice."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


@contextmanager
def serving(script: Script) -> Iterator[Script]:
    """Serve a script on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with script.lock:
                number = len(script.seen)
                script.seen.append(asked)
                script.keys.append(self.headers["authorization"].removeprefix("Bearer "))
                script.paths.append(self.path)
                script.under_way += 1
                script.most_under_way = max(script.most_under_way, script.under_way)
            time.sleep(script.delay_s)
            status, body, headers = script.reply(number, asked)
            with script.lock:
                script.under_way -= 1
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                for part in [raw[at : at + 1] for at in range(len(raw))] if script.trickle_s else [raw]:
                    time.sleep(script.trickle_s)
                    self.wfile.write(part)
            except OSError:
                pass  # the client stopped waiting

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
