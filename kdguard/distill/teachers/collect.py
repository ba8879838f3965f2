"""Asks a teacher and keeps the answers: nothing is asked twice, and nothing is sent that the budget cannot pay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from kdguard.distill.teachers.budget import Budget, Price, Spent
from kdguard.distill.teachers.protocol import Answer, Ask, Message, Teacher
from kdguard.errors import TeacherError


class Writer(Protocol):
    """Where answers go: `kdguard.distill.transcripts.writer.TranscriptWriter`."""

    folder: Path

    def append(self, ask: Ask, answers: Sequence[Answer], **columns: Any) -> None:
        """Keep one request with its answers."""
        ...

    def done_ids(self) -> frozenset[str]:
        """Requests that need not be asked again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """How far a run is, or how it ended.

    Attributes:
        asked: Requests answered in this run, failures included.
        failed: Those of them without any usable answer; they are asked again when the run is repeated.
        skipped: Requests that an earlier run had answered.
        spent: What this run and earlier ones into the same folder used.
        stopped_by: The limit that kept the next request from being sent; None if all were sent.
        first_error: Error of the first failure.
    """

    asked: int = 0
    failed: int = 0
    skipped: int = 0
    spent: Spent = field(default_factory=Spent)
    stopped_by: str | None = None
    first_error: str | None = None


def collect(
    teacher: Teacher,
    asks: Iterable[Ask],
    writer: Writer,
    *,
    budget: Budget | None = None,
    price: Price | None = None,
    wave: int = 512,
    count_tokens: Callable[[Ask], int] | None = None,
    columns: Callable[[Ask], Mapping[str, Any]] | None = None,
    progress: Callable[[Collected], None] | None = None,
) -> Collected:
    """Ask everything that was not answered before, as far as the budget goes.

    Requests are sent in waves. Before a request joins a wave, the most it can cost is set aside; after the wave
    what it did cost is counted instead. So no limit is ever passed, and none is left unused by more than one
    request could have cost.

    Args:
        teacher: Who is asked.
        asks: Requests, in the order in which they are to be sent.
        writer: Keeps every request as soon as all its choices are there.
        budget: Limits for this run and earlier ones into the same folder together. Requests of earlier runs count if
            they were answered; their tokens and money count in any case.
        price: For the limit on money.
        wave: Requests handed to the teacher at once.
        count_tokens: Counts the tokens of a prompt, e.g. `LocalTeacher.count_tokens`.
        columns: Further exchange columns of a request, e.g. its time.
        progress: Called after every request.

    Raises:
        TeacherError: `wave` is below 1, or two asks of one wave have the same id.
        TranscriptError: The writer cannot write; what was kept before stays.
    """
    if wave < 1:
        raise TeacherError(f"wave must be at least 1, got {wave}")
    budget, price = budget or Budget(), price or Price()
    done = writer.done_ids()
    state = Collected(spent=_spent_before(writer, price, count_tokens))
    source = _Source(asks, done)
    while True:
        chosen, stopped_by = _choose(source, state.spent, budget, price, wave, count_tokens)
        for ask, answers in _answered(teacher, [ask for ask, _ in chosen.values()]):
            writer.append(ask, answers, **(dict(columns(ask)) if columns else {}))
            state = _counted(state, price.spent_on(ask, answers, chosen[ask.request_id][1]), answers)
            if progress is not None:
                progress(replace(state, skipped=source.skipped))
        if not chosen:
            return replace(state, skipped=source.skipped, stopped_by=stopped_by)


class _Source:
    """Requests that are still to be asked, one of which can be put back."""

    def __init__(self, asks: Iterable[Ask], done: frozenset[str]) -> None:
        self._asks, self._done, self.skipped = iter(asks), done, 0
        self._back: Ask | None = None

    def next(self) -> Ask | None:
        if self._back is not None:
            ask, self._back = self._back, None
            return ask
        for ask in self._asks:
            if ask.request_id not in self._done:
                return ask
            self.skipped += 1
        return None

    def put_back(self, ask: Ask) -> None:
        self._back = ask


def _choose(
    source: _Source,
    spent: Spent,
    budget: Budget,
    price: Price,
    wave: int,
    count_tokens: Callable[[Ask], int] | None,
) -> tuple[dict[str, tuple[Ask, Spent]], str | None]:
    """The next requests that the budget can pay for in the worst case, and the limit that stopped them."""
    chosen: dict[str, tuple[Ask, Spent]] = {}
    while len(chosen) < wave and (ask := source.next()) is not None:
        most = price.at_most(ask, count_tokens)
        if stopped_by := budget.passed_by(spent.plus(most)):
            source.put_back(ask)
            return chosen, stopped_by
        if ask.request_id in chosen:
            raise TeacherError(
                f"two asks have the request_id '{ask.request_id}'; ids must be unique in a run"
            )
        chosen[ask.request_id] = ask, most
        spent = spent.plus(most)
    return chosen, None


def _answered(teacher: Teacher, asks: Sequence[Ask]) -> Iterator[tuple[Ask, list[Answer]]]:
    """Requests with all their choices, as they become complete."""
    waiting = {ask.request_id: ask for ask in asks}
    parts: dict[str, list[Answer]] = {name: [] for name in waiting}
    for answer in teacher.answer(asks) if asks else ():
        ask = waiting.get(answer.request_id)
        if ask is None:
            raise TeacherError(
                f"teacher '{teacher.name}' answered '{answer.request_id}', which was not asked or has all its choices"
            )
        parts[ask.request_id].append(answer)
        if len(parts[ask.request_id]) == ask.n:
            yield ask, _in_order(parts.pop(ask.request_id))
            del waiting[ask.request_id]
    for name, ask in waiting.items():  # fewer choices than asked for, or one error for all of them
        if parts[name]:
            yield ask, _in_order(parts[name])


def _in_order(answers: list[Answer]) -> list[Answer]:
    return sorted(answers, key=lambda answer: answer.choice)


def _counted(state: Collected, spent: Spent, answers: Sequence[Answer]) -> Collected:
    failed = not any(answer.is_usable for answer in answers)
    return replace(
        state,
        asked=state.asked + 1,
        failed=state.failed + failed,
        spent=state.spent.plus(spent),
        first_error=state.first_error or (answers[0].error if failed else None),
    )


def _spent_before(writer: Writer, price: Price, count_tokens: Callable[[Ask], int] | None) -> Spent:
    """What every try in the folder cost; only one that was answered counts as a request, so that others may follow."""
    from kdguard.distill.transcripts.reader import every_try

    total = Spent()
    for exchanges in every_try(writer.folder):
        for _, rows in groupby(exchanges.to_pylist(), key=lambda row: row["request_id"]):
            ask, answers = _as_asked(list(rows))
            spent = price.spent_on(ask, answers, price.at_most(ask, count_tokens))
            answered = any(answer.is_usable for answer in answers)
            total = total.plus(spent if answered else replace(spent, requests=0))
    return total


def _as_asked(rows: list[dict[str, Any]]) -> tuple[Ask, list[Answer]]:
    """As much of a request and its answers as decides what they cost."""
    first = rows[0]
    turns = tuple(Message(turn["role"], turn["content"] or "") for turn in first["messages"] or ())
    ask = Ask(
        request_id=first["request_id"],
        prompt="" if turns else first["prompt"] or "",
        history=turns,
        n=first["n"] or 1,
        max_tokens=first["max_tokens"] or 0,
        tools=first["tools"],
    )
    told = (
        "request_id",
        "choice",
        "model",
        "response",
        "tool_calls",
        "label",
        "input_tokens",
        "output_tokens",
    )
    answers = [
        Answer(**{name: row[name] for name in told}, status=200 if row["status"] is None else row["status"])
        for row in rows
    ]
    return ask, answers
