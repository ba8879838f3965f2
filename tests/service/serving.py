"""Runs an app on a free port of loopback, in a thread, as `kdguard teacher serve` runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from kdguard.service.teacher import listen, server_of


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app; gives its address."""
    with listen("127.0.0.1", 0) as listening:
        server = server_of(app, patience_s=2)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
