"""What a model wrote, taken apart: reasoning, tool calls, and the answer.

Models write reasoning between `<think>` tags in front, and a tool call as a JSON object with `name` and `arguments`,
bare, in a list, or between `<tool_call>` tags. A call counts only if the tool was offered.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


class Reply(NamedTuple):
    """Parts of a reply.

    Attributes:
        response: The text; None if it is tool calls and nothing else.
        reasoning: Reasoning in front of it.
        tool_calls: Calls as a JSON list in the form of the chat API.
    """

    response: str | None
    reasoning: str | None
    tool_calls: str | None


def parse_reply(text: str, *, tools: str | None = None, key: str = "") -> Reply:
    """Take a reply apart.

    Args:
        text: What the model wrote.
        tools: Tools that were offered, as a JSON list.
        key: Names the choice, so that ids of calls are the same when it is repeated.
    """
    reasoning = None
    if thought := _THOUGHT.match(text):
        reasoning, text = thought[1].strip(), text[thought.end() :]
    offered = _names(tools)
    tagged = _TAGGED.findall(text)
    written = tagged or ([text] if text.lstrip()[:1] in ("{", "[") else [])
    found = [call for piece in written for call in _calls(piece)] if offered else []
    if not found or any(call["name"] not in offered for call in found):
        return Reply(text, reasoning, None)
    rest = _TAGGED.sub("", text).strip() if tagged else ""
    calls = [_call(call, f"{key}/{at}") for at, call in enumerate(found)]
    return Reply(rest or None, reasoning, json.dumps(calls))


def _names(tools: str | None) -> frozenset[str]:
    try:
        offered = json.loads(tools) if tools else []
    except json.JSONDecodeError:
        return frozenset()
    listed = [tool for tool in offered if isinstance(tool, dict)] if isinstance(offered, list) else []
    functions = [tool.get("function", tool) for tool in listed]
    return frozenset(str(one["name"]) for one in functions if isinstance(one, dict) and "name" in one)


def _calls(text: str) -> list[dict[str, Any]]:
    """Calls in a piece of JSON; nothing unless all of it is calls."""
    try:
        told = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return []
    listed = told if isinstance(told, list) else [told]
    good = all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in listed)
    return listed if good else []


def _call(call: dict[str, Any], key: str) -> dict[str, Any]:
    arguments = call.get("arguments", call.get("parameters", {}))
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    name = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
    return {
        "id": f"call_{name}",
        "type": "function",
        "function": {"name": call["name"], "arguments": written},
    }
