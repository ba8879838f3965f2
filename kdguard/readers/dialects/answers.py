"""Response bodies to one dictionary a choice, in every dialect that the supported logs carry.

Known shapes: OpenAI chat, completions and Responses; Anthropic Messages; Gemini; Bedrock Converse, Titan,
Llama, Mistral, Cohere. A streamed response (a list of chunks) is put together first, see `chunks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kdguard.readers.dialects.chunks import assembled
from kdguard.readers.dialects.content import at, calls, first, plain, thoughts

_TOKENS_IN = (
    "usage.prompt_tokens",
    "usage.input_tokens",
    "usage.inputTokens",
    "usageMetadata.promptTokenCount",
    "inputTextTokenCount",
    "prompt_token_count",
)
_TOKENS_OUT = (
    "usage.completion_tokens",
    "usage.output_tokens",
    "usage.outputTokens",
    "usageMetadata.candidatesTokenCount",
    "generation_token_count",
)
FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})


def answers(body: Any) -> list[dict[str, Any]]:
    """Read a response body.

    Args:
        body: The decoded body, or the list of its chunks when it was streamed.

    Returns:
        One dictionary of raw values by exchange column for each choice; at least one, perhaps empty.
        Token counts stand on every choice, since APIs count a request and not a choice.
    """
    if isinstance(body, list):
        body = assembled(body)
    if isinstance(body, str):
        return [{"response": body}] if body else [{}]
    if not isinstance(body, dict):
        return [{}]
    shared: dict[str, Any] = {
        "input_tokens": first(body, *_TOKENS_IN),
        "output_tokens": first(body, *_TOKENS_OUT),
    }
    thinking_tokens = at(body, "usageMetadata.thoughtsTokenCount")
    if isinstance(thinking_tokens, int) and isinstance(shared["output_tokens"], int):
        shared["output_tokens"] += thinking_tokens  # Gemini counts them apart; the others do not
    if at(body, "promptFeedback.blockReason") or _filtered(body):
        shared["refused"] = True
    shared = {column: value for column, value in shared.items() if value is not None}
    choices = [
        shared | {column: value for column, value in choice.items() if value not in (None, "", [])}
        for choice in _choices(body)
    ]
    return choices or [shared]


def _filtered(body: dict[str, Any]) -> bool:
    codes = (at(body, "error.code"), at(body, "error.innererror.code"), at(body, "error.type"))
    return any(isinstance(code, str) and code in FILTER_CODES for code in codes)


def _choices(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, read in _LISTS.items():
        if isinstance(body.get(key), list):
            for position, entry in enumerate(body[key]):
                if isinstance(entry, dict):
                    index = entry.get("index")
                    yield {"choice": position if index is None else index} | read(entry)
            return
    output = body.get("output")
    if isinstance(output, list):
        yield _responses(body, output)
    elif isinstance(output, dict):
        yield _message(output.get("message")) | {"finish_reason": body.get("stopReason")}
    elif isinstance(body.get("content"), list | str):
        yield _message(body) | {"finish_reason": body.get("stop_reason")}
    else:
        said = first(body, "generation", "outputText", "completion", "text", "response")
        if isinstance(said, str):
            why = first(body, "stop_reason", "completionReason", "finish_reason")
            yield {"response": said, "finish_reason": why}


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        return {"response": plain(message)}
    parts = message.get("content") if "content" in message else message.get("parts")
    refusal = message.get("refusal")
    return {
        "response": plain(parts) or (refusal if isinstance(refusal, str) else None),
        "reasoning": first(message, "reasoning_content", "reasoning") or thoughts(parts),
        "tool_calls": message.get("tool_calls") or message.get("function_call") or calls(parts),
        "refused": True if refusal else None,
    }


def _chat(choice: dict[str, Any]) -> dict[str, Any]:
    spoken = _message(choice.get("message")) if "message" in choice else {"response": choice.get("text")}
    return spoken | {"finish_reason": choice.get("finish_reason")}


def _gemini(candidate: dict[str, Any]) -> dict[str, Any]:
    return _message(candidate.get("content")) | {"finish_reason": candidate.get("finishReason")}


def _bedrock_text(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "response": first(entry, "outputText", "text"),
        "finish_reason": first(entry, "completionReason", "stop_reason", "finish_reason"),
    }


def _responses(body: dict[str, Any], output: list[Any]) -> dict[str, Any]:
    items = [item for item in output if isinstance(item, dict)]
    said = [item for item in items if item.get("type") == "message"]
    parts = [part for item in said for part in (item.get("content") or []) if isinstance(part, dict)]
    refused = any(part.get("type") == "refusal" for part in parts)
    return {
        "response": plain([item.get("content") for item in said]),
        "reasoning": thoughts(items),
        "tool_calls": calls(items),
        "finish_reason": at(body, "incomplete_details.reason") or body.get("status"),
        "refused": True if refused else None,
    }


_LISTS = {
    "choices": _chat,
    "candidates": _gemini,
    "results": _bedrock_text,
    "outputs": _bedrock_text,
    "generations": _bedrock_text,
}
