"""What asking may cost: requests, tokens and money, counted before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kdguard.distill.teachers.protocol import TIMED_OUT, Answer, Ask
from kdguard.errors import TeacherError

_TURN_TOKENS = 8  # what a chat template puts around one turn, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was used, or may be.

    Attributes:
        requests: Requests sent.
        input_tokens: Tokens of prompts.
        output_tokens: Tokens of all choices.
        money: In the currency of the price.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and choices."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            money=self.money + other.money,
        )

    def record(self) -> dict[str, Any]:
        """As plain values, for manifests."""
        return asdict(self) | {"tokens": self.tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits for a whole run; None = no limit.

    Raises:
        TeacherError: A limit is not above 0.
    """

    requests: int | None = None
    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for name, limit in asdict(self).items():
            if limit is not None and not limit > 0:
                raise TeacherError(
                    f"a budget of {name} must be above 0, got {limit}; leave it out for no limit"
                )

    def passed_by(self, spent: Spent) -> str | None:
        """Name of the first limit that this would pass."""
        for name, limit in asdict(self).items():
            if limit is not None and getattr(spent, name) > limit:
                return name
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a provider charges, in any one currency.

    Raises:
        TeacherError: A price is below 0.
    """

    input_per_million: float = 0.0
    output_per_million: float = 0.0
    per_request: float = 0.0

    def __post_init__(self) -> None:
        if min(self.input_per_million, self.output_per_million, self.per_request) < 0:
            raise TeacherError(f"prices must be at least 0, got {self}")

    def of(self, input_tokens: int, output_tokens: int) -> Spent:
        """The cost of one request."""
        money = (input_tokens * self.input_per_million + output_tokens * self.output_per_million) / 1e6
        return Spent(
            requests=1,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            money=money + self.per_request,
        )

    def at_most(self, ask: Ask, count_tokens: Callable[[Ask], int] | None = None) -> Spent:
        """The most that a request can cost: every choice as long as it may be.

        Args:
            ask: The request.
            count_tokens: Counts its prompt; without it every byte is taken for a token.
        """
        return self.of((count_tokens or most_input_tokens)(ask), ask.n * ask.max_tokens)

    def spent_on(self, ask: Ask, answers: Sequence[Answer], most: Spent) -> Spent:
        """What a request did cost; where the answers do not count, the most it may have cost.

        An answer that no server gave, or an error, costs no tokens; a request that ran out of time may have.
        """
        if all(answer.status not in (200, TIMED_OUT) for answer in answers):
            return self.of(0, 0)
        told = [answer.input_tokens for answer in answers if answer.input_tokens is not None]
        outputs = [answer.output_tokens for answer in answers if answer.output_tokens is not None]
        unknown = len(outputs) < len(answers)
        return self.of(max(told, default=most.input_tokens), most.output_tokens if unknown else sum(outputs))


def most_input_tokens(ask: Ask) -> int:
    """No tokenizer makes more tokens of a prompt than it has bytes, and a template adds a few a turn."""
    texts = [turn.content for turn in ask.messages] + ([ask.tools] if ask.tools else [])
    return sum(len(text.encode()) + _TURN_TOKENS for text in texts)
