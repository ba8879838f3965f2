"""Bodies of the OpenAI API, made from asks and read into answers, whatever is missing or wrong in them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from kdguard.distill.teachers.protocol import BAD_ANSWER, CHAT, Answer, Ask, failed
from kdguard.exchanges.tokens import TokenTrace

_LEAST = -9999.0  # how the API writes a log-probability of minus infinity


def request_body(ask: Ask, model: str, *, limit_name: str = "max_tokens") -> dict[str, Any]:
    """The parameters of the SDK's `create` for an ask; values at their defaults are left out.

    Args:
        ask: The request.
        model: Model to ask for.
        limit_name: What the chat API calls the limit on tokens: `max_tokens`, or `max_completion_tokens`.
    """
    chat = ask.endpoint == CHAT
    body: dict[str, Any] = {"model": model, "temperature": ask.temperature, "top_p": ask.top_p, "n": ask.n}
    body[limit_name if chat else "max_tokens"] = ask.max_tokens
    if ask.seed is not None:
        body["seed"] = ask.seed
    if ask.stop:
        body["stop"] = list(ask.stop)
    if ask.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in ask.logit_bias.items()}
    if not chat:
        logprobs = {} if ask.top_logprobs is None else {"logprobs": ask.top_logprobs}
        return body | logprobs | {"prompt": ask.prompt}
    body["messages"] = [{"role": turn.role, "content": turn.content} for turn in ask.messages]
    if ask.top_logprobs is not None:
        body |= {"logprobs": True} | ({"top_logprobs": ask.top_logprobs} if ask.top_logprobs else {})
    if ask.tools:
        body["tools"] = json.loads(ask.tools)
    if ask.store:
        labels = dict(ask.metadata) | ({"session_id": ask.session_id} if ask.session_id else {})
        body |= {"store": True} | ({"metadata": labels} if labels else {})
    return body


def read_body(content: bytes, ask: Ask, model: str, *, latency_ms: float) -> list[Answer]:
    """Read a response body.

    Args:
        content: Bytes of the body, of a response with status 200.
        ask: What was asked.
        model: Model that was asked for, where the body names none.
        latency_ms: For the answers.

    Returns:
        One answer a choice, or the one that says why there is none. Where log-probabilities were asked for and
        are absent or broken, the text stands with the error `missing_logprobs`.
    """
    try:
        body = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return [failed(ask, model, status=BAD_ANSWER, error="malformed_json", latency_ms=latency_ms)]
    choices = body.get("choices") if isinstance(body, dict) else None
    good = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    if not good:
        return [failed(ask, model, status=BAD_ANSWER, error="empty_choices", latency_ms=latency_ms)]
    usage = _object(body.get("usage"))
    named = body["model"] if isinstance(body.get("model"), str) else model
    read = [_choice(one, at, ask) for at, one in enumerate(good)]
    if len({one["choice"] for one in read}) < len(read):
        read = [one | {"choice": at} for at, one in enumerate(read)]
    counts = _counts(read, _count(usage.get("completion_tokens")))
    shared: dict[str, Any] = {
        "request_id": ask.request_id,
        "model": named,
        "input_tokens": _count(usage.get("prompt_tokens")),
        "latency_ms": latency_ms,
    }
    return [Answer(**shared, **one, output_tokens=count) for one, count in zip(read, counts, strict=True)]


def _choice(choice: dict[str, Any], place: int, ask: Ask) -> dict[str, Any]:
    """Fields of an answer."""
    message = _object(choice.get("message"))
    refusal = _text(message.get("refusal"))
    calls = message.get("tool_calls")
    response = _text(message.get("content")) if ask.endpoint == CHAT else _text(choice.get("text"))
    tokens = _trace(choice.get("logprobs")) if ask.top_logprobs is not None else None
    index = choice.get("index")
    told = {
        "choice": index if isinstance(index, int) and index >= 0 else place,
        "response": response if refusal is None else refusal,
        "reasoning": _text(message.get("reasoning_content")) or _text(message.get("reasoning")),
        "tool_calls": json.dumps(calls) if isinstance(calls, list) and calls else None,
        "finish_reason": _text(choice.get("finish_reason")),
        "refused": True if refusal is not None or choice.get("finish_reason") == "content_filter" else None,
        "tokens": tokens,
    }
    if told["response"] is None and told["tool_calls"] is None:
        return told | {"status": BAD_ANSWER, "error": "empty_message"}
    if ask.top_logprobs is not None and tokens is None:
        return told | {"error": "missing_logprobs"}
    return told


def _counts(read: list[dict[str, Any]], total: int | None) -> list[int | None]:
    """Tokens of each choice: counted where they were told, else an even share of what the request counts."""
    if total is None or all(one["tokens"] is not None for one in read):
        return [None if one["tokens"] is None else len(one["tokens"]) for one in read]
    share, over = divmod(total, len(read))
    return [share + (at < over) for at in range(len(read))]


def _trace(told: Any) -> TokenTrace | None:
    """Tokens in either form of the API; None if absent or broken anywhere."""
    try:
        if isinstance(told.get("content"), list):
            return _joined([_chat_token(one) for one in told["content"]])
        tops = told.get("top_logprobs") or [{}] * len(told["tokens"])
        rows = zip(told["tokens"], told["token_logprobs"], tops, strict=True)
        return _joined(
            [
                (
                    _named(token),
                    _logprob(value),
                    [(_named(name), _logprob(at)) for name, at in (top or {}).items()],
                )
                for token, value, top in rows
            ]
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


_Token = tuple[bytes, float, list[tuple[bytes, float]]]


def _chat_token(one: dict[str, Any]) -> _Token:
    tops = [(_bytes(top), _logprob(top["logprob"])) for top in one.get("top_logprobs") or ()]
    return _bytes(one), _logprob(one["logprob"]), tops


def _joined(tokens: list[_Token]) -> TokenTrace:
    k = max((len(tops) for *_, tops in tokens), default=0)
    logprob = np.array([value for _, value, _ in tokens], np.float32)
    if not k:
        return TokenTrace(token_bytes=tuple(name for name, *_ in tokens), logprob=logprob)
    padded = [
        sorted(tops, key=lambda top: -top[1]) + [(b"", -math.inf)] * (k - len(tops)) for *_, tops in tokens
    ]
    top_logprobs = np.array([[value for _, value in row] for row in padded], np.float64)
    held = np.exp(top_logprobs).sum(axis=1)
    return TokenTrace(
        token_bytes=tuple(name for name, *_ in tokens),
        logprob=logprob,
        top_bytes=tuple(tuple(name for name, _ in row) for row in padded),
        top_logprobs=top_logprobs.astype(np.float32),
        tail_mass=np.clip(1.0 - held, 0.0, 1.0).astype(np.float32),
    )


def _bytes(one: dict[str, Any]) -> bytes:
    raw = one.get("bytes")
    return bytes(raw) if isinstance(raw, list) else str(one["token"]).encode()


def _named(name: str) -> bytes:
    r"""A token of the completions API, which writes a part of a character as `bytes:\xe2\x80`."""
    if name.startswith("bytes:\\x"):
        return bytes.fromhex(name.removeprefix("bytes:").replace("\\x", ""))
    return name.encode()


def _logprob(value: Any) -> float:
    number = float(value)
    if math.isnan(number) or number > 1e-3:
        raise ValueError("a log-probability must be at most 0")
    return -math.inf if number <= _LEAST else min(number, 0.0)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
