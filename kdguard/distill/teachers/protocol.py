"""What every teacher speaks: an `Ask` goes in, one `Answer` a choice comes out.

A teacher never raises because of what one request met. A server that is down, slow or talks nonsense, a
prompt that is too long, a budget of the provider that ran out: each becomes an `Answer` with a status and an
error, so that thousands of requests are not lost to one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from kdguard.exchanges.tokens import TokenTrace

CHAT: Final = "chat.completions"
COMPLETIONS: Final = "completions"
BAD_ANSWER: Final = 502
"""Status of an answer whose body cannot be used: not JSON, or without choices."""
UNREACHABLE: Final = 503
"""Status of an answer that no server gave: it cannot be reached."""
TIMED_OUT: Final = 504
"""Status of an answer that no server gave in time."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as a customer of an API would send it.

    Attributes:
        request_id: Unique within a run; every answer carries it.
        prompt: The last user turn; empty if the conversation ends in `history`.
        system: System prompt.
        history: Turns before `prompt`, oldest first.
        n: Choices wanted.
        temperature: 0 picks the most likely token.
        top_p: Nucleus probability in (0, 1].
        max_tokens: Limit on the tokens of each choice.
        seed: Makes the answer repeatable where the teacher can.
        stop: Texts that end a choice and are not part of it.
        top_logprobs: None = no log-probabilities; 0 = of the sampled token only; at most 20 over HTTP.
        logit_bias: Added to the logits of these token ids before sampling, each in [-100, 100].
        tools: Tool definitions as a JSON list, as the chat API takes them.
        store: Ask the provider to keep the completion.
        metadata: Labels kept with a stored completion.
        account_id: Which account sends it.
        session_id: Which conversation it belongs to.
        endpoint: `chat.completions`, or `completions` for a bare continuation of `prompt`.
    """

    request_id: str
    prompt: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 128
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    tools: str | None = None
    store: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    account_id: str | None = None
    session_id: str | None = None
    endpoint: str = CHAT

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation, oldest first."""
        first = (Message("system", self.system),) if self.system is not None else ()
        last = (Message("user", self.prompt),) if self.prompt or not self.history else ()
        return first + self.history + last


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One choice of one request, or the reason why there is none.

    Attributes:
        request_id: Of the ask.
        choice: Index of the choice, from 0.
        model: Model that answered, as it names itself.
        response: Text of the choice; None where there is none.
        reasoning: Reasoning text, where the teacher returns it.
        tool_calls: Tool calls as a JSON list.
        label: Label of a classifier.
        label_probs: Labels and their probabilities, likeliest first, as far as the teacher tells them.
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter`.
        refused: The teacher or a filter refused; None = not known.
        status: HTTP status; `BAD_ANSWER`, `UNREACHABLE` or `TIMED_OUT` where the server gave none of use.
        error: What went wrong. It may stand beside a response: `missing_logprobs` leaves the text usable.
        input_tokens: Tokens of the request; the same on every choice.
        output_tokens: Tokens of this choice. Where an API counts only the request, its count is shared evenly.
        latency_ms: Milliseconds from sending to the last byte.
        tokens: The tokens, where log-probabilities were asked for.
    """

    request_id: str
    choice: int
    model: str
    response: str | None
    reasoning: str | None = None
    tool_calls: str | None = None
    label: str | None = None
    label_probs: tuple[tuple[str, float], ...] | None = None
    finish_reason: str | None = None
    refused: bool | None = None
    status: int = 200
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    tokens: TokenTrace | None = None

    @property
    def is_usable(self) -> bool:
        """Something was answered: a text, tool calls or a label."""
        said = (self.response, self.tool_calls, self.label)
        return self.status == 200 and any(value is not None for value in said)


@runtime_checkable
class Teacher(Protocol):
    """Anything that answers.

    Attributes:
        name: Id of the teacher, shown in manifests.
    """

    name: str

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer every ask, in any order, each with at least one `Answer`."""
        ...


def failed(ask: Ask, model: str, *, status: int, error: str, latency_ms: float | None = None) -> Answer:
    """The answer that says why there is none."""
    return Answer(
        request_id=ask.request_id,
        choice=0,
        model=model,
        response=None,
        status=status,
        error=error,
        latency_ms=latency_ms,
    )
