"""Messages and tools of chat requests, and the turns they become."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from kdguard.distill.teachers.protocol import Message


class _Part(BaseModel):
    """A part of a request; fields that are not known, and change nothing, are passed over."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Kept(_Part):
    """A part that is handed on as it came."""

    model_config = ConfigDict(extra="allow")


class FunctionDefinition(_Kept):
    """A function that the model may call."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    parameters: dict[str, Any] | None = None


class ToolDefinition(_Kept):
    """A tool that the model may call."""

    type: Literal["function"]
    function: FunctionDefinition


class CalledFunction(_Part):
    """What an earlier turn called; `arguments` is JSON, as far as the model kept to it."""

    name: str
    arguments: str = "{}"

    def written(self) -> str:
        """The call as models write it, and as `parse_reply` reads it."""
        try:
            parsed = json.loads(self.arguments)
        except (ValueError, RecursionError):
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else self.arguments
        return f"<tool_call>{json.dumps({'name': self.name, 'arguments': arguments})}</tool_call>"


class ToolCall(_Part):
    """One call of an earlier turn."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class TextPart(_Part):
    """The one kind of part that is supported."""

    type: Literal["text"]
    text: str


class ChatMessage(_Part):
    """One turn; text parts are joined, other parts are refused."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"a message of role '{self.role}' must have content")
        return self

    def turn(self) -> Message:
        """The turn as text; calls of tools stand behind it."""
        parts = self.content if isinstance(self.content, list) else []
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in parts)
        calls = "".join(call.function.written() for call in self.tool_calls or ())
        return Message("system" if self.role == "developer" else self.role, text + calls)
