"""Requests of the OpenAI API, and the asks they become.

Parameters that would change an answer and that are not supported are accepted at their defaults only: silence would
be a wrong answer.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kdguard.distill.teachers.protocol import CHAT, COMPLETIONS, Ask
from kdguard.service.openai_errors import ApiError
from kdguard.service.openai_messages import ChatMessage, ToolDefinition

MOST_TOP_LOGPROBS = 20
MOST_CHOICES = 128
_INT64 = 1 << 63


def _metadata(value: dict[str, str] | None) -> dict[str, str] | None:
    if len(value or {}) > 16:
        raise ValueError("must have at most 16 pairs")
    for key, text in (value or {}).items():
        if len(key) > 64 or len(text) > 512:
            raise ValueError("keys must have at most 64 characters and values at most 512")
    return value


def _bias(value: dict[str, float] | None) -> dict[str, float] | None:
    for token, bias in (value or {}).items():
        if not token.isascii() or not token.isdecimal() or not -100 <= bias <= 100:
            raise ValueError("must map token ids to numbers in [-100, 100]")
    return value


def _stop(value: str | list[str] | None) -> str | list[str] | None:
    texts = [value] if isinstance(value, str) else value or []
    if len(texts) > 4 or not all(texts):
        raise ValueError("must be a text or at most 4 texts, none of them empty")
    return value


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Metadata = Annotated[dict[str, str] | None, AfterValidator(_metadata)]


class StreamOptions(_Body):
    """What a stream tells besides the text."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class Sampling(_Body):
    """Parameters that both endpoints have."""

    model: str
    temperature: float | None = Field(1.0, ge=0, le=2)
    top_p: float | None = Field(1.0, gt=0, le=1)
    n: int | None = Field(1, ge=1, le=MOST_CHOICES)
    max_tokens: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=-_INT64, lt=_INT64)
    stop: Annotated[str | list[str] | None, AfterValidator(_stop)] = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    logit_bias: Annotated[dict[str, float] | None, AfterValidator(_bias)] = None
    user: str | None = None
    frequency_penalty: float | None = Field(0, ge=0, le=0)
    presence_penalty: float | None = Field(0, ge=0, le=0)

    @property
    def tells_usage(self) -> bool:
        """The stream ends with a count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def limit(self) -> tuple[str, int | None]:
        """Name and value of the limit on tokens."""
        return "max_tokens", self.max_tokens

    def common(self, request_id: str, most_tokens: int, usual_tokens: int) -> dict[str, Any]:
        """Fields of an ask.

        Raises:
            ApiError: More tokens than the server gives.
        """
        name, wanted = self.limit()
        if wanted is not None and wanted > most_tokens:
            raise ApiError(
                400,
                f"{name} is too large: {wanted}. This model supports at most {most_tokens} completion tokens.",
                param=name,
                code="invalid_value",
            )
        return {
            "request_id": request_id,
            "n": self.n or 1,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "max_tokens": usual_tokens if wanted is None else wanted,
            "seed": self.seed,
            "stop": (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            "logit_bias": {int(token): bias for token, bias in (self.logit_bias or {}).items()},
        }


class ChatRequest(Sampling):
    """Body of `POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=MOST_TOP_LOGPROBS)
    tools: list[ToolDefinition] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: Literal[True] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    store: bool | None = False
    metadata: Metadata = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default"] | None = None

    def limit(self) -> tuple[str, int | None]:
        """Name and value of the limit on tokens.

        Raises:
            ApiError: It is given twice.
        """
        if self.max_completion_tokens is None:
            return super().limit()
        if self.max_tokens is not None:
            raise ApiError(
                400,
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
                param="max_tokens",
                code="invalid_parameter_combination",
            )
        return "max_completion_tokens", self.max_completion_tokens

    def ask(self, request_id: str, most_tokens: int) -> Ask:
        """The ask.

        Raises:
            ApiError: Parameters that contradict each other, or more tokens than the server gives.
        """
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(
                400,
                "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
                param="top_logprobs",
                code="invalid_value",
            )
        turns = [message.turn() for message in self.messages]
        first = turns[0].content if turns[0].role == "system" else None
        rest = turns if first is None else turns[1:]
        asked = bool(rest) and rest[-1].role == "user" and bool(rest[-1].content)
        return Ask(
            prompt=rest[-1].content if asked else "",
            system=first,
            history=tuple(rest[:-1] if asked else rest),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            tools=self._offered(),
            store=bool(self.store),
            metadata=self.metadata or {},
            session_id=(self.metadata or {}).get("session_id"),
            endpoint=CHAT,
            **self.common(request_id, most_tokens, most_tokens),
        )

    def _offered(self) -> str | None:
        """The tools as a JSON list."""
        if not self.tools or self.tool_choice == "none":
            return None
        return json.dumps([tool.model_dump(exclude_unset=True) for tool in self.tools])


class MetadataRequest(_Body):
    """Body of `POST /v1/chat/completions/{id}`."""

    metadata: Metadata


class CompletionRequest(Sampling):
    """Body of `POST /v1/completions`."""

    prompt: str | list[str]
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP_LOGPROBS)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None

    def asks(self, request_id: str, most_tokens: int) -> list[Ask]:
        """One ask a prompt; ids after the first get a number.

        Raises:
            ApiError: Too many prompts or tokens.
        """
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not prompts or len(prompts) * (self.n or 1) > MOST_CHOICES:
            raise ApiError(
                400, f"prompts times n must be 1 to {MOST_CHOICES}", param="prompt", code="invalid_value"
            )
        common = self.common(request_id, most_tokens, min(16, most_tokens))
        return [
            Ask(
                **(common | {"request_id": f"{request_id}-{at}" if at else request_id}),
                prompt=prompt,
                top_logprobs=self.logprobs,
                endpoint=COMPLETIONS,
            )
            for at, prompt in enumerate(prompts)
        ]
