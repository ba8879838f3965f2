"""An ask and its answers as rows of the exchange table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.errors import TranscriptError
from kdguard.exchanges.schema import EXCHANGES

_FROM_ASK = (
    *("request_id", "account_id", "session_id", "endpoint", "system", "prompt", "tools"),
    *("temperature", "top_p", "n", "seed", "max_tokens", "top_logprobs"),
)
_FROM_ANSWER = (
    *("choice", "model", "response", "reasoning", "tool_calls", "label", "finish_reason", "refused"),
    *("status", "input_tokens", "output_tokens", "latency_ms"),
)


def exchange_rows(ask: Ask, answers: Sequence[Answer], **columns: Any) -> list[dict[str, Any]]:
    """One row of the exchange columns a choice.

    What the table has no column for is left out: `stop`, `store` and `metadata` of the ask, `error` of an answer.

    Args:
        ask: The request.
        answers: Its choices.
        columns: Further exchange columns for all of them, e.g. `time`, `org_id`, `client_ip`; they win.

    Raises:
        TranscriptError: No answer, an answer to another request, or a column that does not exist.
    """
    strange = sorted(set(columns) - set(EXCHANGES.names))
    if strange:
        raise TranscriptError(f"exchanges have no column {', '.join(strange)}")
    others = sorted({answer.request_id for answer in answers} - {ask.request_id})
    if others or not answers:
        raise TranscriptError(f"{ask.request_id}: needs its own answers, got those of {others or 'none'}")
    asked = {name: getattr(ask, name) for name in _FROM_ASK} | {
        "messages": [{"role": turn.role, "content": turn.content} for turn in ask.messages],
        "logprobs": ask.top_logprobs is not None,
        "logit_bias": _json(dict(ask.logit_bias)) if ask.logit_bias else None,
        "origin": "teacher",
        "source_format": "transcript",
        "truncated": False,
        "content_missing": False,
    }
    return [asked | _answered(answer) | columns for answer in answers]


def _answered(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(answer, name) for name in _FROM_ANSWER}
    if answer.label_probs is not None:
        told["label_probs"] = [{"label": label, "prob": prob} for label, prob in answer.label_probs]
    return told


def _json(value: dict[int, float]) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS).decode()
