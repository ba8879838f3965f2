"""The one record that both flows share: an exchange is one request and one choice of its response.

Unit and meaning of every column stand in the Arrow field metadata, so a Parquet file explains itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1


def _field(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = True) -> pa.Field[Any]:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


_MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
_LABEL_PROBS = pa.list_(pa.struct([pa.field("label", pa.string()), pa.field("prob", pa.float64())]))

EXCHANGES: pa.Schema = pa.schema(
    [
        _field("request_id", pa.string(), "id of the request, unique within an account", nullable=False),
        _field("choice", pa.int32(), "index of the choice within the response, from 0", nullable=False),
        _field("time", pa.timestamp("us", "UTC"), "when the request arrived"),
        _field("account_id", pa.string(), "who is billed; null = unattributed"),
        # identity
        _field("org_id", pa.string(), "organisation as the log names it"),
        _field("key_hash", pa.string(), "hash of the API key"),
        _field("session_id", pa.string(), "conversation or session id"),
        _field("client_ip", pa.string(), "address of the caller, possibly masked"),
        _field("user_agent", pa.string(), "user agent of the caller"),
        _field("tls_fingerprint", pa.string(), "JA3/JA4/HTTP2 fingerprint of the caller"),
        # call
        _field("model", pa.string(), "model that was asked for"),
        _field("endpoint", pa.string(), "operation or path, e.g. chat.completions"),
        _field("system", pa.string(), "system prompt"),
        _field("prompt", pa.string(), "last user turn"),
        _field("messages", _MESSAGES, "the full conversation, oldest first"),
        _field("tools", pa.string(), "tool definitions as JSON; 'true' if only known to be present"),
        _field("temperature", pa.float64(), "sampling temperature"),
        _field("top_p", pa.float64(), "nucleus probability"),
        _field("n", pa.int32(), "choices asked for"),
        _field("seed", pa.int64(), "sampling seed asked for"),
        _field("max_tokens", pa.int64(), "limit on output tokens"),
        _field("logprobs", pa.bool_(), "token log-probabilities were asked for"),
        _field("top_logprobs", pa.int32(), "alternatives a token asked for"),
        _field("logit_bias", pa.string(), "logit bias as JSON"),
        # result
        _field("response", pa.string(), "text of this choice"),
        _field("reasoning", pa.string(), "reasoning text of this choice, where the API returns it"),
        _field("tool_calls", pa.string(), "tool calls of this choice as JSON"),
        _field("label", pa.string(), "label answered by a classifier"),
        _field("label_probs", _LABEL_PROBS, "label probabilities answered by a classifier"),
        _field("finish_reason", pa.string(), "why generation stopped"),
        _field("refused", pa.bool_(), "the model or a filter refused; null = not known"),
        _field("status", pa.int32(), "HTTP status"),
        _field("input_tokens", pa.int64(), "tokens in"),
        _field("output_tokens", pa.int64(), "tokens out, reasoning included"),
        _field("latency_ms", pa.float64(), "milliseconds from request to last byte"),
        # provenance
        _field("origin", pa.string(), "log | teacher | suspect"),
        _field("source_format", pa.string(), "reader that made the row"),
        _field("truncated", pa.bool_(), "content is known to be cut"),
        _field("content_missing", pa.bool_(), "prompt text is absent from the source"),
        _field("sampling_rate", pa.float64(), "share of requests that the source logged, in (0, 1]"),
    ],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)


def conform(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cast a batch to the exchange schema, adding absent columns as nulls.

    Args:
        batch: Any subset of the exchange columns, castable to the declared types.

    Returns:
        A batch with exactly the columns of `EXCHANGES`, in order. Unknown columns are dropped.

    Raises:
        pyarrow.ArrowInvalid: A column cannot be cast without loss.
    """
    present = set(batch.schema.names)
    arrays = [
        batch.column(field.name).cast(field.type)
        if field.name in present
        else pa.nulls(batch.num_rows, field.type)
        for field in EXCHANGES
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EXCHANGES)


def from_rows(rows: Iterable[dict[str, Any]]) -> pa.RecordBatch:
    """Build a batch from dictionaries that hold any subset of the exchange columns."""
    rows = list(rows)
    arrays = [pa.array([row.get(field.name) for row in rows], field.type) for field in EXCHANGES]
    return pa.RecordBatch.from_arrays(arrays, schema=EXCHANGES)


ACCOUNTS: pa.Schema = pa.schema(
    [
        _field("account_id", pa.string(), "key of the table", nullable=False),
        _field("org_id", pa.string(), "organisation; the owner where present"),
        _field("created_at", pa.timestamp("us", "UTC"), "when the account was opened"),
        _field("plan", pa.string(), "what is paid for"),
        _field("email_domain", pa.string(), "domain of the registered address"),
        _field("payment_hash", pa.string(), "hash of the payment instrument"),
        _field("country", pa.string(), "for fairness reports only; never a feature"),
        _field("verified", pa.bool_(), "a person checked who this is"),
        _field("declared_workload", pa.string(), "what the owner says it does; counts only when verified"),
        _field("training_permitted", pa.bool_(), "a contract allows training on outputs"),
    ],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)
