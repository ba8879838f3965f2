"""Accounts into Arrow: exchanges, the accounts table and the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from kdguard.exchanges.schema import ACCOUNTS, EXCHANGES
from kdguard.simulate.activity import Account
from kdguard.simulate.results import Results
from kdguard.simulate.seeds import hex_ids

_LISTS = ("prompt", "system", "tools", "model", "endpoint", "logit_bias")
_ACCOUNT_LABELS: dict[str, pa.DataType] = {
    "account_id": pa.string(),
    "owner_id": pa.string(),
    "is_attack": pa.bool_(),
    "campaign_id": pa.string(),
    "technique": pa.string(),
    "mix": pa.float64(),
    "workload": pa.string(),
    "language": pa.string(),
    "tactics": pa.string(),
}
_REQUEST_LABELS: dict[str, pa.DataType] = {
    "request_id": pa.string(),
    "is_attack": pa.bool_(),
    "technique": pa.string(),
}
ACCOUNT_LABELS: pa.Schema = pa.schema(_ACCOUNT_LABELS)
REQUEST_LABELS: pa.Schema = pa.schema(_REQUEST_LABELS)


@dataclass(frozen=True)
class Labelled:
    """An account with the truth about it."""

    account: Account
    workload: str
    campaign_id: str | None = None
    technique: str | None = None
    mix: float = 0.0
    tactics: str = ""


@dataclass(frozen=True)
class Rows:
    """Exchange columns of one account before Arrow."""

    lists: dict[str, list[Any]]
    arrays: dict[str, np.ndarray[Any, Any]]
    attack: list[bool]
    technique: str | None


def rows(labelled: Labelled, results: Results, rng: np.random.Generator) -> Rows:
    """All columns of one account's exchanges."""
    account = labelled.account
    asked, who = account.activity, account.identity
    n = len(asked)
    clients = [who.clients[i] for i in asked.client.tolist()]
    sessions = hex_ids(rng, int(asked.session.max()) + 1, 24) if asked.session.max() >= 0 else []
    lists: dict[str, list[Any]] = {name: getattr(asked, name) for name in _LISTS}
    lists |= {
        "request_id": hex_ids(rng, n),
        "account_id": [who.account_id] * n,
        "org_id": [who.org_id] * n,
        "key_hash": [who.key_hash] * n,
        "session_id": [sessions[i] if i >= 0 else None for i in asked.session.tolist()],
        "client_ip": [client.address for client in clients],
        "user_agent": [client.agent for client in clients],
        "tls_fingerprint": [client.tls for client in clients],
        "response": results.response,
        "finish_reason": results.finish_reason,
    }
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "time": asked.time,
        "temperature": asked.temperature,
        "n": asked.choices,
        "max_tokens": asked.max_tokens,
        "logprobs": asked.logprobs,
        "top_logprobs": asked.top_logprobs,
        "refused": results.refused,
        "status": results.status,
        "input_tokens": results.input_tokens,
        "output_tokens": results.output_tokens,
        "latency_ms": results.latency_ms,
    }
    return Rows(lists, arrays, asked.attack.tolist(), labelled.technique)


_NEGATIVE_IS_NULL = frozenset({"n", "max_tokens", "logprobs", "top_logprobs"})


def batch(parts: Sequence[Rows]) -> pa.RecordBatch:
    """One record batch of the exchange schema from several accounts' rows."""
    total = sum(len(part.attack) for part in parts)
    columns: list[pa.Array[Any]] = []
    for field in EXCHANGES:
        name = field.name
        if name in parts[0].lists:
            values = [value for part in parts for value in part.lists[name]]
            columns.append(pa.array(values, field.type))
        elif name in parts[0].arrays:
            columns.append(_array(name, np.concatenate([part.arrays[name] for part in parts]), field.type))
        elif name in _CONSTANT:
            columns.append(pa.repeat(pa.scalar(_CONSTANT[name], field.type), total))
        else:
            columns.append(pa.nulls(total, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=EXCHANGES)


_CONSTANT: dict[str, Any] = {"choice": 0, "origin": "log", "source_format": "simulated"}


def _array(name: str, values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array[Any]:
    mask = values < 0 if name in _NEGATIVE_IS_NULL else np.isnan(values) if name == "temperature" else None
    if kind == pa.bool_():
        values = values.astype(np.bool_) if mask is None else values == 1
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    found: pa.Array[Any] = pa.array(values, mask=mask)
    return found.cast(kind)


def request_labels(parts: Iterable[Rows]) -> pa.Table:
    """Which requests belong to a campaign, and by which technique."""
    ids: list[str] = []
    attack: list[bool] = []
    technique: list[str | None] = []
    for part in parts:
        ids += part.lists["request_id"]
        attack += part.attack
        technique += [part.technique if hit else None for hit in part.attack]
    columns: list[pa.Array[Any]] = [
        pa.array(ids, pa.string()),
        pa.array(attack, pa.bool_()),
        pa.array(technique, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=REQUEST_LABELS)


def accounts_table(found: Sequence[Labelled]) -> pa.Table:
    """The accounts table that a customer would hand in, sorted by account."""
    table = pa.table(
        {
            field.name: pa.array([getattr(one.account.identity, field.name) for one in found]).cast(
                field.type
            )
            for field in ACCOUNTS
        },
        schema=ACCOUNTS,
    )
    return table.sort_by("account_id")


def account_labels(found: Sequence[Labelled]) -> pa.Table:
    """The truth about every account, sorted by account."""
    values: dict[str, list[Any]] = {
        "account_id": [one.account.identity.account_id for one in found],
        "owner_id": [one.account.identity.owner_id for one in found],
        "is_attack": [one.campaign_id is not None for one in found],
        "campaign_id": [one.campaign_id for one in found],
        "technique": [one.technique for one in found],
        "mix": [one.mix for one in found],
        "workload": [one.workload for one in found],
        "language": [one.account.language for one in found],
        "tactics": [one.tactics for one in found],
    }
    return pa.table(values, schema=ACCOUNT_LABELS).sort_by("account_id")
