"""An ask as the token ids that a local model continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from kdguard.distill.teachers.protocol import CHAT, Ask
from kdguard.errors import TeacherError

Style = Literal["auto", "chat", "plain"]
Renderer = Callable[[Ask], Sequence[int]]


def renderer(tokenizer: Any, style: Style = "auto") -> Renderer:
    """How asks become token ids.

    Args:
        tokenizer: A tokenizer of transformers.
        style: `chat` uses the tokenizer's chat template, `plain` joins the turns with blank lines, `auto` takes
            the template if there is one. An ask at the `completions` endpoint is always plain.

    Returns:
        The token ids of an ask. It raises a `TeacherError` where the template refuses the conversation, e.g. because
        two turns of one role follow each other.

    Raises:
        TeacherError: `chat` without a chat template.
    """
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if style == "chat" and not has_template:
        raise TeacherError("style 'chat' needs a tokenizer with a chat template; use 'plain', or set one")
    templated = has_template and style != "plain"

    def render(ask: Ask) -> Sequence[int]:
        if templated and ask.endpoint == CHAT:
            return _templated(tokenizer, ask)
        ids: list[int] = tokenizer(plain_text(ask))["input_ids"]
        return ids

    return render


def plain_text(ask: Ask) -> str:
    """The turns of an ask with blank lines between them; the prompt alone if there is nothing else."""
    if ask.endpoint != CHAT:
        return ask.prompt
    return "\n\n".join(turn.content for turn in ask.messages if turn.content)


def _templated(tokenizer: Any, ask: Ask) -> Sequence[int]:
    turns = [{"role": turn.role, "content": turn.content} for turn in ask.messages]
    tools = json.loads(ask.tools) if ask.tools else None
    try:
        ids: list[int] = tokenizer.apply_chat_template(
            turns, tools=tools, add_generation_prompt=True, tokenize=True, return_dict=False
        )
    except Exception as error:  # a template is a program: whatever it raises concerns this ask only
        raise TeacherError(
            f"the model's chat template refuses this conversation: {type(error).__name__}: {error}"
        ) from error
    return ids
