"""A streamed response put together again from the list of its chunks, in the shape of a whole body.

OpenAI chat chunks, OpenAI Responses events, Anthropic events, Bedrock Converse events, Gemini chunks and the
older Bedrock models are known. Bedrock's own wrapping (``{"chunk": {...}}``) is taken off.
"""

from __future__ import annotations

from typing import Any

from kdguard.readers.dialects.content import at, plain, thoughts


def assembled(chunks: list[Any]) -> dict[str, Any]:
    """Join the chunks of one streamed response.

    Args:
        chunks: Decoded chunks in order; entries that are not objects are passed over.

    Returns:
        A body that `answers` can read; empty if nothing was recognised.
    """
    events = [event.get("chunk", event) for event in chunks if isinstance(event, dict)]
    events = [event for event in events if isinstance(event, dict)]
    for event in reversed(events):
        if event.get("type") in ("response.completed", "response.incomplete", "response.failed"):
            whole = event.get("response")
            return whole if isinstance(whole, dict) else {}
    if any("choices" in event for event in events):
        return _openai(events)
    if any("candidates" in event for event in events):
        return _gemini(events)
    return _blocks(events)


def _openai(events: list[dict[str, Any]]) -> dict[str, Any]:
    said: dict[Any, dict[str, Any]] = {}
    body: dict[str, Any] = {}
    for event in events:
        body |= {key: event[key] for key in ("id", "created", "model", "usage") if event.get(key)}
        for choice in event.get("choices") or []:
            if not isinstance(choice, dict):
                continue
            index = choice.get("index") if isinstance(choice.get("index"), int) else 0
            delta = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            kept = said.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
            for key in ("content", "reasoning_content", "refusal"):
                piece = delta.get(key) if isinstance(delta, dict) else None
                if isinstance(piece, str):
                    kept["message"].setdefault(key, []).append(piece)
            if isinstance(delta, dict) and isinstance(delta.get("tool_calls"), list):
                kept["message"].setdefault("tool_calls", []).extend(delta["tool_calls"])
            kept["finish_reason"] = choice.get("finish_reason") or kept["finish_reason"]
    for kept in said.values():
        for key in ("content", "reasoning_content", "refusal"):
            if key in kept["message"]:
                kept["message"][key] = "".join(kept["message"][key])
    return body | {"choices": [said[index] for index in sorted(said)]}


def _gemini(events: list[dict[str, Any]]) -> dict[str, Any]:
    open_text: list[str] = []
    thought: list[str] = []
    body: dict[str, Any] = {}
    finish = None
    for event in events:
        if isinstance(event.get("usageMetadata"), dict):
            body["usageMetadata"] = event["usageMetadata"]  # running totals: the last chunk has them all
        candidates = event.get("candidates")
        candidate = candidates[0] if isinstance(candidates, list) and candidates else {}
        parts = at(candidate, "content.parts")
        open_text.append(plain(parts) or "")
        thought.append(thoughts(parts) or "")
        finish = at(candidate, "finishReason") or finish
    parts = [{"text": "".join(thought), "thought": True}, {"text": "".join(open_text)}]
    return body | {"candidates": [{"content": {"parts": parts}, "finishReason": finish}]}


# Where a chunk of Anthropic, Converse or an older Bedrock model keeps a piece of text.
_OPEN = ("delta.text", "contentBlockDelta.delta.text", "outputText", "generation", "completion", "text")
_THOUGHT = ("delta.thinking", "contentBlockDelta.delta.reasoningContent.text")
_INPUT = ("delta.partial_json", "contentBlockDelta.delta.toolUse.input")
_STARTED = ("content_block", "contentBlockStart.start.toolUse")
_STOPPED = ("delta.stop_reason", "messageStop.stopReason", "stop_reason", "completionReason")
_USAGE = ("message.usage", "usage", "metadata.usage")


def _blocks(events: list[dict[str, Any]]) -> dict[str, Any]:
    pieces: dict[tuple[str, ...], list[str]] = {_OPEN: [], _THOUGHT: []}
    tools: list[dict[str, Any]] = []
    body: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    for event in events:
        for paths, found in pieces.items():
            found.extend(piece for path in paths if isinstance(piece := at(event, path), str))
        for path in _STARTED:
            start = at(event, path)
            if isinstance(start, dict) and ("toolUseId" in start or start.get("type") == "tool_use"):
                tools.append({"type": "tool_use", "name": start.get("name"), "input": ""})
        for path in _INPUT:
            if isinstance(piece := at(event, path), str) and tools:
                tools[-1]["input"] += piece
        for path in _STOPPED:
            body["stop_reason"] = at(event, path) or body.get("stop_reason")
        for path in _USAGE:
            counted = at(event, path)
            usage |= counted if isinstance(counted, dict) else {}
        if isinstance(at(event, "message.id"), str):
            body["id"] = at(event, "message.id")
    parts: list[dict[str, Any]] = [{"type": "thinking", "thinking": "".join(pieces[_THOUGHT])}]
    parts.append({"type": "text", "text": "".join(pieces[_OPEN])})
    return body | {"usage": usage, "content": parts + tools}
