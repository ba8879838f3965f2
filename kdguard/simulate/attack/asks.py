"""Requests of a plan as a teacher takes them, and the columns of the log that no teacher sees."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from kdguard.distill.teachers.protocol import Ask
from kdguard.simulate.attack.plan import DEFAULT_TOKENS, Plan


def ask_of(plan: Plan, place: int) -> Ask:
    """One request."""
    calls = plan.calls
    temperature, seed = float(calls.temperature[place]), int(plan.seed[place])
    bias = calls.logit_bias[place]
    asked, top = int(calls.logprobs[place]), int(calls.top_logprobs[place])
    return Ask(
        request_id=plan.request_id[place],
        prompt=calls.prompt[place],
        system=calls.system[place],
        n=max(int(calls.choices[place]), 1),
        temperature=1.0 if math.isnan(temperature) else temperature,
        max_tokens=DEFAULT_TOKENS if calls.max_tokens[place] < 0 else int(calls.max_tokens[place]),
        seed=None if seed < 0 else seed,
        top_logprobs=max(top, 0) if asked == 1 or top >= 0 else None,
        logit_bias={int(token): float(value) for token, value in json.loads(bias).items()} if bias else {},
        tools=calls.tools[place],
        account_id=plan.identities[int(plan.account[place])].account_id,
        session_id=_session(plan, int(calls.session[place])),
    )


def columns_of(plan: Plan, place: int) -> dict[str, Any]:
    """Further exchange columns of one request: when, from where, and nothing where nothing was sent."""
    calls = plan.calls
    who = plan.identities[int(plan.account[place])]
    client = who.clients[int(calls.client[place])]
    unsent: dict[str, Any] = {"top_p": None}
    if math.isnan(float(calls.temperature[place])):
        unsent["temperature"] = None
    for column, values in (
        ("n", calls.choices),
        ("max_tokens", calls.max_tokens),
        ("logprobs", calls.logprobs),
    ):
        if values[place] < 0:
            unsent[column] = None
    return unsent | {
        "time": int(calls.time[place]),
        "org_id": who.org_id,
        "key_hash": who.key_hash,
        "client_ip": client.address,
        "user_agent": client.agent,
        "tls_fingerprint": client.tls,
    }


def asks_of(plan: Plan, places: Sequence[int]) -> list[Ask]:
    """Requests at some places."""
    return [ask_of(plan, place) for place in places]


def _session(plan: Plan, session: int) -> str | None:
    """Session ids look like every other id of the log, and are the same whenever the run goes on."""
    if session < 0:
        return None
    key = f"{plan.identities[0].account_id}/{session}"
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
