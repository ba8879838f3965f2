"""Short words for talking to a server with the real client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import openai

HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The price?"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "add", "parameters": {}}}]


def client(url: str, key: str = "key-a") -> openai.OpenAI:
    """A client that neither repeats nor waits long."""
    return openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, timeout=60)


def ask(asker: openai.OpenAI, text: str = "The price?", **changed: Any) -> Any:
    """One short chat completion."""
    asked: dict[str, Any] = {
        "model": "tiny",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": text}],
    }
    return asker.chat.completions.create(**(asked | changed))


def until(holds: Callable[[], bool], within_s: float = 20.0) -> bool:
    """Wait until something holds; whether it came to."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
