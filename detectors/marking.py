"""A teacher whose answers bear an owner's marks on their way to each account: canaries, and released answers of twins.

Watermarks are written while text is sampled (`watermark.processors`); what stands here happens to finished answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kdguard.detectors.canary import planning as canary_planning
from kdguard.detectors.canary.gateway import AccountFilter, Tally, account_filter
from kdguard.detectors.twins import planning as twins_planning
from kdguard.distill.teachers.protocol import Answer, Ask, Teacher
from kdguard.ledger.keys import KeyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is done to whose answers.

    Attributes:
        filters: Canaries of each account that gets any.
        released: Account and prompt -> the answer that a coin chose.
    """

    filters: Mapping[str, AccountFilter] = field(default_factory=dict)
    released: Mapping[tuple[str, str], str] = field(default_factory=dict)


def read_marks(keys: KeyStore, *, canaries: Path | None = None, twins: Path | None = None) -> Marks:
    """Marks from what `canary plan` and `twins plan` wrote.

    Raises:
        CanaryError: A canaries file of other keys.
        TwinsError: A twins file that was changed.
    """
    filters = {}
    if canaries is not None:
        generation = keys.generation(canary_planning.plan_generation(canaries))
        plan = canary_planning.read_plan(canaries, generation)
        filters = {account: account_filter(plan, generation, account) for account in plan.marked}
    released = {} if twins is None else twins_planning.released_answers(twins)
    return Marks(filters=filters, released=released)


class MarkedTeacher:
    """A teacher behind a gateway. It remembers what it marked, so one of it serves an epoch.

    Answers that go out with log-probabilities stay as they are: their tokens would not be the text's. So do answers
    with tool calls.

    Args:
        teacher: Who answers.
        marks: What is done to the answers.
    """

    def __init__(self, teacher: Teacher, marks: Marks) -> None:
        self._teacher, self._marks, self.name = teacher, marks, teacher.name
        self._tallies: dict[str, Tally] = {}

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer every ask; see `Teacher`."""
        open_asks = {}
        for ask in asks:
            released = self._released(ask)
            if released is None:
                open_asks[ask.request_id] = ask
            else:
                yield from released
        for answer in self._teacher.answer(list(open_asks.values())) if open_asks else ():
            yield self._placed(open_asks[answer.request_id], answer)

    def _released(self, ask: Ask) -> list[Answer] | None:
        text = self._marks.released.get((ask.account_id or "", ask.prompt))
        if text is None or ask.top_logprobs is not None or ask.history:
            return None
        return [
            Answer(
                request_id=ask.request_id,
                choice=choice,
                model=self.name,
                response=text,
                finish_reason="stop",
                input_tokens=self._tokens(ask.prompt),
                output_tokens=self._tokens(text),
                latency_ms=0.0,
            )
            for choice in range(ask.n)
        ]

    def _tokens(self, text: str) -> int:
        """For the bill: tokens where the teacher's tokenizer is at hand, else words."""
        tokenizer = getattr(self._teacher, "tokenizer", None)
        return len(text.split() if tokenizer is None else tokenizer(text)["input_ids"])

    def _placed(self, ask: Ask, answer: Answer) -> Answer:
        filtered = self._marks.filters.get(ask.account_id or "")
        if filtered is None or not answer.response or answer.tokens is not None or answer.tool_calls:
            return answer
        account = ask.account_id or ""
        named = f"{ask.request_id}/{answer.choice}"
        placed = filtered.place(self._tallies.get(account, Tally()), named, ask.prompt, answer.response)
        self._tallies[account] = placed.tally
        return replace(answer, response=placed.response)
