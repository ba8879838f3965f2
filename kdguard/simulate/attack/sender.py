"""Requests that an attack makes up as it goes, sent as the next requests of a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kdguard.distill.teachers.protocol import Answer, Ask, Teacher
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import AttackError
from kdguard.simulate.attack.asks import ask_of, columns_of
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.rounds import fill

_RECORDED = ("request_id", "choice", "model", "response", "label", "label_probs", "status", "output_tokens")


class Sender:
    """Sends prompts as the next requests of a plan, and keeps the answers.

    A run that goes on finds the answers of the requests that were sent before; since an attack draws the same every
    time, they are the answers to the same prompts.

    Args:
        plan: Says when, from where and how; its prompts are slots.
        teacher: Who answers, one choice a request.
        writer: Keeps the answers.
        say: Told how many requests were made so far, and of how many.

    Attributes:
        plan: With the prompts sent so far.
        sent: Requests made so far.
    """

    def __init__(
        self, plan: Plan, teacher: Teacher, writer: TranscriptWriter, say: Callable[[int, int], None]
    ) -> None:
        self.plan, self.sent = plan, 0
        self._teacher, self._writer, self._say = teacher, writer, say
        self._known = _recorded(writer) if writer.done_ids() else {}

    def __call__(
        self, prompts: Sequence[str], change: Callable[[int, Ask], Ask] = lambda place, ask: ask
    ) -> list[Answer]:
        """Ask n prompts.

        Args:
            prompts: What to ask.
            change: From the number of the prompt and the plan's request to the request that is sent.

        Returns:
            An answer each, in their order; the request ids are the plan's.

        Raises:
            AttackError: The plan has fewer requests left.
        """
        if self.sent + len(prompts) > len(self.plan):
            raise AttackError(
                f"the budget of {len(self.plan)} requests has {len(self.plan) - self.sent} left, and {len(prompts)} "
                "more are needed: raise budget.requests or ask for less"
            )
        places = range(self.sent, self.sent + len(prompts))
        self.sent += len(prompts)
        self.plan = fill(self.plan, places, prompts)
        asks = {
            self.plan.request_id[place]: change(i, ask_of(self.plan, place)) for i, place in enumerate(places)
        }
        place_of = {self.plan.request_id[place]: place for place in places}
        new = [ask for name, ask in asks.items() if name not in self._known]
        for answer in self._teacher.answer(new) if new else ():
            columns = columns_of(self.plan, place_of[answer.request_id])
            self._writer.append(asks[answer.request_id], [answer], **columns)
            self._known[answer.request_id] = answer
            self._say(len(self._known), len(self.plan))
        return [self._known[name] for name in asks]


def _recorded(writer: TranscriptWriter) -> dict[str, Answer]:
    """Answers of requests that need not be asked again, by request."""
    told, done = read_transcripts(writer.folder), writer.done_ids()
    return {
        row["request_id"]: _again(row, told.tokens.get(row["request_id"]))
        for row in told.exchanges.select(list(_RECORDED)).to_pylist()
        if row["request_id"] in done
    }


def _again(row: dict[str, Any], tokens: Any) -> Answer:
    probs = row.pop("label_probs")
    return Answer(
        **row,
        label_probs=tuple((one["label"], one["prob"]) for one in probs) if probs else None,
        tokens=tokens,
    )
