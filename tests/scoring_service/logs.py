"""Small logs of many accounts, made from words, some of whose requests ask for what extraction asks for."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
_WORDS = """please write a short note about the meeting with our supplier and explain why the invoice for march was late
translate this text into french fix the bug in my python function summarise the report for the board""".split()  # noqa: SIM905
_THEFT = "Think step by step and show your complete reasoning process before the final answer. Problem {}: {}"


def rows(
    seed: int,
    *,
    accounts: int = 12,
    thieves: int = 4,
    requests: int = 30,
    span: timedelta = timedelta(hours=20),
) -> list[dict[str, Any]]:
    """Flat exchanges in order of their times."""
    draw = random.Random(seed)
    made = []
    for account in range(accounts + thieves):
        thief = account >= accounts
        for request in range(draw.randint(3, requests) if not thief else requests):
            words = " ".join(draw.choices(_WORDS, k=draw.randint(4, 30)))
            at = BEGIN + span * draw.random()
            made.append(
                {
                    "request_id": f"r-{seed}-{account}-{request}",
                    "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                    "account_id": f"{'thief' if thief else 'honest'}-{account}",
                    "org_id": f"org-{account // 2}",
                    "session_id": f"s-{account}-{request // 5}",
                    "client_ip": f"203.0.113.{1 if thief else account + 2}",
                    "user_agent": "curl/8" if thief else f"agent-{account % 3}",
                    "model": "m-large",
                    "prompt": _THEFT.format(request, words) if thief else words,
                    "output_tokens": draw.randint(5, 900),
                    "status": 200,
                    "logprobs": thief,
                    "temperature": 0.0 if thief else 0.7,
                }
            )
    return sorted(made, key=lambda row: str(row["time"]))


def in_arrival_order(log: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The log as it might arrive: most a little late, a few too late, a few twice."""
    draw = random.Random(seed)

    def arrival(row: dict[str, Any]) -> float:
        late_s = draw.expovariate(1 / 600) + (draw.random() < 0.05) * draw.uniform(0, 20_000)
        return datetime.fromisoformat(row["time"]).timestamp() + late_s

    arriving = [(arrival(row), row) for row in log]
    again = [
        (arrival(row) + draw.uniform(0, 9_000), dict(row)) for row in draw.sample(list(log), len(log) // 20)
    ]
    for _, row in again[: len(again) // 2]:  # a copy with a later time of its own
        later = datetime.fromisoformat(row["time"]) + timedelta(seconds=draw.uniform(1, 5_000))
        row["time"] = later.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return [row for _, row in sorted([*arriving, *again], key=lambda pair: pair[0])]


def ndjson(log: Iterable[dict[str, Any]]) -> bytes:
    """Lines of JSON."""
    return b"".join(orjson.dumps(row) + b"\n" for row in log)
