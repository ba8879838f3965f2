"""Putting probes to a model behind an endpoint: nothing is asked twice, what was answered survives a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from kdguard.distill.teachers.budget import Budget, Price, Spent
from kdguard.distill.teachers.collect import Collected, collect
from kdguard.distill.teachers.protocol import Ask, Teacher
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import LineageError
from kdguard.lineage.probes import Probe, ProbeSet

AGAIN = "/again"
"""Ends the request id of a prompt that is asked a second time, to see whether the endpoint is still the same model."""


SEALED = "seal"
"""What stops a folder that was closed with fewer prompts than are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How prompts are put; the same for suspect, teachers and controls, or length and decoding confound the test.

    Attributes:
        max_tokens: Limit on each answer.
        temperature: Of sampling; 1 is what the API does when nobody says anything.
        system: System prompt; None = none.
    """

    max_tokens: int = 512
    temperature: float = 1.0
    system: str | None = None


def about_answers(probes: ProbeSet, seed: int, model: str, manner: Manner) -> dict[str, Any]:
    """What a folder of answers is about; a folder begun with anything else is not gone on with."""
    return {
        "kind": "kdguard.lineage.answers",
        "model": model,
        "probe_set": probes.name,
        "probe_set_version": probes.version,
        "probe_set_digest": probes.digest,
        "seed": seed,
        "manner": asdict(manner),
    }


class Asking:
    """Asks a model prompts and keeps its answers.

    Args:
        teacher: The model, e.g. an `EndpointTeacher`.
        writer: Keeps the answers as exchanges; a sealed folder is only read.
        manner: How prompts are put.
        origin: `suspect` or `teacher`, kept with every exchange.
        now: The time, for the exchanges.
        budget: Limits over all calls and earlier runs into the same folder.
        price: For a limit on money.
        say: Told prompts answered and wanted.

    Attributes:
        spent: What was used so far.
        stopped_by: The limit that kept prompts from being asked, or `SEALED`; None = none.
    """

    def __init__(
        self,
        teacher: Teacher,
        writer: TranscriptWriter,
        manner: Manner,
        *,
        origin: str = "suspect",
        now: Callable[[], datetime],
        budget: Budget | None = None,
        price: Price | None = None,
        say: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._teacher, self._writer, self._manner = teacher, writer, manner
        self._origin, self._now, self._budget, self._price, self._say = origin, now, budget, price, say
        self.spent = Spent()
        self.stopped_by: str | None = None

    def __call__(self, probes: Sequence[Probe], *, again: bool = False) -> pd.DataFrame:
        """Ask what is not answered yet.

        Args:
            probes: Prompts, in the order in which they are to be asked.
            again: Ask them a second time, beside the first answers.

        Returns:
            A row a prompt that has an answer, in the given order: `prompt_id, prompt, response, finish_reason,
            refused, answered_as` (the model's name for itself).

        Raises:
            LineageError: Not one prompt has a first answer.
        """
        asks = [self._ask(probe, again) for probe in probes]
        found = Collected()
        if not self._writer.is_sealed:
            found = collect(
                self._teacher,
                asks,
                self._writer,
                budget=self._budget,
                price=self._price,
                columns=lambda ask: {"origin": self._origin, "time": self._now()},
                progress=lambda state: self._say(state.asked + state.skipped, len(asks)),
            )
            self.spent, self.stopped_by = found.spent, found.stopped_by
        elif not {ask.request_id for ask in asks} <= self._writer.done_ids():
            self.stopped_by = SEALED
        answers = answers_of(self._writer, probes, again=again)
        if answers.empty and not again:
            why = found.first_error or (f"the budget of {found.stopped_by}" if found.stopped_by else "sealed")
            raise LineageError(
                f"{self._teacher.name} answered none of {len(probes)} prompts: {why}. Put that right and give the same "
                "command again: what failed is asked once more"
            )
        return answers

    def _ask(self, probe: Probe, again: bool) -> Ask:
        return Ask(
            request_id=probe.prompt_id + AGAIN * again,
            prompt=probe.prompt,
            system=self._manner.system,
            temperature=self._manner.temperature,
            max_tokens=self._manner.max_tokens,
        )


def answers_of(writer: TranscriptWriter, probes: Sequence[Probe], *, again: bool = False) -> pd.DataFrame:
    """Answers that a folder holds to some prompts, as `Asking` returns them."""
    told = read_transcripts(writer.folder).exchanges
    rows: Mapping[str, dict[str, Any]] = {
        row["request_id"]: row for row in told.to_pylist() if row["response"] is not None
    }
    found = [(probe, rows.get(probe.prompt_id + AGAIN * again)) for probe in probes]
    return pd.DataFrame(
        [
            {
                "prompt_id": probe.prompt_id,
                "prompt": probe.prompt,
                "response": row["response"],
                "finish_reason": row["finish_reason"],
                "refused": row["refused"],
                "answered_as": row["model"],
            }
            for probe, row in found
            if row is not None
        ],
        columns=["prompt_id", "prompt", "response", "finish_reason", "refused", "answered_as"],
    )
