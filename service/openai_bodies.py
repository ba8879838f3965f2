"""Answers as bodies of the OpenAI API, whole and in chunks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from kdguard.distill.teachers.protocol import CHAT, Answer
from kdguard.exchanges.tokens import TokenTrace

_LEAST = -9999.0  # how the API writes a log-probability of minus infinity
Vocabulary = Sequence[bytes] | None


def chat_body(
    request_id: str, created: int, answers: Sequence[Answer], vocabulary: Vocabulary
) -> dict[str, Any]:
    """A chat completion.

    Args:
        request_id: Its id.
        created: Unix seconds.
        answers: Its choices.
        vocabulary: Bytes by token id, where traces name alternatives by id only.
    """
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": created,
        "model": answers[0].model,
        "choices": [
            {
                "index": answer.choice,
                "message": message(answer),
                "logprobs": chat_logprobs(answer.tokens, vocabulary),
                "finish_reason": answer.finish_reason or "stop",
            }
            for answer in sorted(answers, key=lambda answer: answer.choice)
        ],
        "usage": usage(answers),
        "system_fingerprint": None,
        "service_tier": "default",
    }


def message(answer: Answer) -> dict[str, Any]:
    """The message of a choice."""
    refused = bool(answer.refused)
    told = {
        "role": "assistant",
        "content": None if refused else answer.response,
        "refusal": answer.response if refused else None,
    }
    if answer.reasoning is not None:
        told["reasoning_content"] = answer.reasoning
    if answer.tool_calls is not None:
        told["tool_calls"] = json.loads(answer.tool_calls)
    return told


def completion_body(
    request_id: str, created: int, grouped: Sequence[Sequence[Answer]], vocabulary: Vocabulary
) -> dict[str, Any]:
    """A text completion; the choices of each prompt follow those of the one before."""
    answers = [answer for group in grouped for answer in sorted(group, key=lambda one: one.choice)]
    choices = [
        {
            "index": place,
            "text": answer.response or "",
            "logprobs": completion_logprobs(answer.tokens, vocabulary),
            "finish_reason": answer.finish_reason or "stop",
        }
        for place, answer in enumerate(answers)
    ]
    counts = [usage(group) for group in grouped]
    return {
        "id": request_id,
        "object": "text_completion",
        "created": created,
        "model": answers[0].model,
        "choices": choices,
        "usage": {name: sum(count[name] for count in counts) for name in counts[0]},
        "system_fingerprint": None,
    }


def chunk(
    request_id: str, created: int, model: str, endpoint: str, choice: dict[str, Any] | None, **more: Any
) -> dict[str, Any]:
    """One chunk of a stream, of one choice or of none."""
    return {
        "id": request_id,
        "object": "chat.completion.chunk" if endpoint == CHAT else "text_completion",
        "created": created,
        "model": model,
        "choices": [] if choice is None else [choice],
        **more,
    }


def usage(answers: Iterable[Answer]) -> dict[str, int]:
    """Tokens of one request: its prompt once, and all its choices."""
    listed = list(answers)
    prompt = max((answer.input_tokens or 0 for answer in listed), default=0)
    completion = sum(answer.output_tokens or 0 for answer in listed)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def chat_logprobs(trace: TokenTrace | None, vocabulary: Vocabulary) -> dict[str, Any] | None:
    """Tokens as the chat API tells them: text, log-probability and bytes."""
    if trace is None:
        return None
    tops = _tops(trace, vocabulary)
    content = [
        _token(name, value) | {"top_logprobs": [_token(*top) for top in row]}
        for name, value, row in zip(trace.token_bytes, trace.logprob.tolist(), tops, strict=True)
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(
    trace: TokenTrace | None, vocabulary: Vocabulary, offset: int = 0
) -> dict[str, Any] | None:
    """Tokens as the completions API tells them: lists, and the alternatives as dictionaries.

    Args:
        trace: The tokens.
        vocabulary: As in `chat_body`.
        offset: Characters that stand before the first.
    """
    if trace is None:
        return None
    names, places = [named(name) for name in trace.token_bytes], []
    text = b""
    for name in trace.token_bytes:
        places.append(offset + len(text.decode("utf-8", "replace")))
        text += name
    values = [max(value, _LEAST) for value in trace.logprob.tolist()]
    rows = zip(names, values, _tops(trace, vocabulary), strict=True)
    # the sampled token is always told, so that there may be one more than asked for
    tops = [{named(top): max(at, _LEAST) for top, at in row} | {name: value} for name, value, row in rows]
    return {
        "tokens": names,
        "token_logprobs": values,
        "top_logprobs": tops if trace.alternatives else None,
        "text_offset": places,
    }


def named(token: bytes) -> str:
    r"""A token as a text; a part of a character as `bytes:\xe2\x82`."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


def _token(name: bytes, value: float) -> dict[str, Any]:
    return {"token": name.decode("utf-8", "replace"), "logprob": max(value, _LEAST), "bytes": list(name)}


def _tops(trace: TokenTrace, vocabulary: Vocabulary) -> list[list[tuple[bytes, float]]]:
    """Alternatives of each token: bytes and log-probability; pads left out."""
    if trace.top_logprobs is None:
        return [[] for _ in trace.token_bytes]
    if trace.top_bytes is not None:
        names = [list(row) for row in trace.top_bytes]
    elif trace.top_ids is not None and vocabulary is not None:
        names = [[vocabulary[at] if at >= 0 else b"" for at in row] for row in trace.top_ids.tolist()]
    else:
        return [[] for _ in trace.token_bytes]
    values = trace.top_logprobs.tolist()
    return [
        [(name, value) for name, value in zip(row, told, strict=True) if not math.isinf(value)]
        for row, told in zip(names, values, strict=True)
    ]
