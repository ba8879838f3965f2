"""Text out of the many shapes in which APIs write messages and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from kdguard.readers.documents import decode
from kdguard.readers.rejects import Unfit

# Keys under which a part holds its text, in the order tried.
_TEXT_KEYS = ("text", "content", "refusal", "output_text", "value")
# Parts of these kinds are not what the speaker said in the open.
_HIDDEN = frozenset({"thinking", "redacted_thinking", "reasoning", "tool_use", "tool_call", "function_call"})
_REASONING = frozenset({"thinking", "reasoning"})
USER_ROLES = frozenset({"user", "human"})
SYSTEM_ROLES = frozenset({"system", "developer"})


def at(record: Any, path: str) -> Any:
    """Follow a dotted path; None where it leads nowhere.

    A key that itself holds dots wins over the path, so flattened copies read like the original.
    """
    if not isinstance(record, dict):
        return None
    if path in record:
        return record[path]
    if "." in path:  # most paths have none, and this is where envelopes spend their time
        for head, rest in forks(path):
            if head in record:
                found = at(record[head], rest)
                if found is not None:
                    return found
    return None


@lru_cache(maxsize=4096)
def forks(path: str) -> tuple[tuple[str, str], ...]:
    """Every way to cut a dotted path in two, the shortest head first."""
    steps = path.split(".")
    return tuple((".".join(steps[:cut]), ".".join(steps[cut:])) for cut in range(1, len(steps)))


def first(record: Any, *paths: str) -> Any:
    """The first path that leads to something; None if none does."""
    for path in paths:
        found = at(record, path)
        if found is not None and found != "":
            return found
    return None


def unwrapped(value: Any, *, depth: int = 3) -> Any:
    """Undo JSON written as text, also when that was done twice; other text is returned as it is."""
    while depth and isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            value = decode(value.encode("utf-8", "surrogatepass"))
        except Unfit:
            return value
        depth -= 1
    return value


def turns(value: Any) -> Any:
    """Messages written as JSON text, or a bare text; a text that merely looks like JSON stays a text."""
    found = unwrapped(value)
    if isinstance(found, list) and any(isinstance(entry, dict) for entry in found):
        return found
    if isinstance(found, dict) and any(key in found for key in ("role", "messages", "parts", "content")):
        return found
    return value


def plain(content: Any) -> str | None:
    """All visible text of a message: text, or a list of parts joined by newlines; None if there is none."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list):
        pieces = [piece for piece in map(plain, content) if piece]
        return "\n".join(pieces) if pieces else None
    if isinstance(content, dict) and content.get("type") not in _HIDDEN and not content.get("thought"):
        for key in _TEXT_KEYS:
            if content.get(key):
                return plain(content[key])
        return plain(content["parts"]) if "parts" in content else None
    return None


def thoughts(parts: Any) -> str | None:
    """Reasoning text among the parts of a message, as Anthropic, Bedrock, Gemini and OpenAI write it."""
    found: list[str] = []
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, dict):
            continue
        if part.get("type") in _REASONING:
            candidate = part.get("thinking") or plain(part.get("summary")) or plain(part.get("content"))
            candidate = candidate or part.get("text")
        elif part.get("thought"):
            candidate = part.get("text")
        else:
            candidate = at(part, "reasoningContent.reasoningText.text")
        if isinstance(candidate, str) and candidate:
            found.append(candidate)
    return "\n".join(found) if found else None


def calls(parts: Any) -> list[dict[str, Any]]:
    """Tool calls among the parts of a message, as they were written."""
    if not isinstance(parts, list):
        return []
    kinds = ("tool_use", "tool_call", "function_call")
    return [
        part
        for part in parts
        if isinstance(part, dict)
        and (part.get("type") in kinds or "toolUse" in part or "functionCall" in part)
    ]


def conversation(turns: Iterable[Any]) -> list[dict[str, str | None]]:
    """Messages as role and text; a bare text is a user's turn. Anything else is left out."""
    spoken: list[dict[str, str | None]] = []
    for turn in turns:
        if isinstance(turn, str):
            spoken.append({"role": "user", "content": turn})
        elif isinstance(turn, dict):
            role = turn.get("role")
            body = turn.get("content") if "content" in turn else turn.get("parts")
            if role is None and body is None and turn.get("type") not in ("input_text", "text"):
                continue
            words = plain(turn if body is None else body)
            spoken.append({"role": role if isinstance(role, str) else "user", "content": words})
    return spoken


def last_user_turn(spoken: list[dict[str, str | None]]) -> str | None:
    """The text of the last user message that has any."""
    for turn in reversed(spoken):
        if turn["role"] in USER_ROLES and turn["content"]:
            return turn["content"]
    return None


def system_text(spoken: list[dict[str, str | None]]) -> str | None:
    """All system and developer messages, joined by newlines."""
    texts = [turn["content"] for turn in spoken if turn["role"] in SYSTEM_ROLES]
    kept = [words for words in texts if words]
    return "\n".join(kept) if kept else None
