"""Requests of a plan, asked within the money there is, and their answers, kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kdguard.distill.teachers import budget as spending
from kdguard.distill.teachers.collect import Collected, collect
from kdguard.distill.teachers.protocol import Teacher
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import AttackError
from kdguard.simulate.attack.asks import asks_of, columns_of
from kdguard.simulate.attack.manifest import price_of
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe


class Asking:
    """Asks requests of a plan, keeps the answers, and counts.

    Args:
        writer: Keeps the answers; a sealed folder is asked nothing any more.
        teacher: Who is asked.
        recipe: Budget and prices.
        say: Told how many requests are answered, and of how many.

    Attributes:
        stopped_by: Limit that kept requests from being sent.
    """

    def __init__(
        self, writer: TranscriptWriter, teacher: Teacher, recipe: Recipe, say: Callable[[int, int], None]
    ) -> None:
        self._writer, self._teacher, self._say = writer, teacher, say
        self._requests, self._price = recipe.budget.requests, price_of(recipe)
        self._budget = spending.Budget(requests=recipe.budget.requests, money=recipe.budget.money)
        self._count = getattr(teacher, "count_tokens", None)
        self._before, self._usable = 0, 0
        self._first_error: str | None = None
        self.stopped_by: str | None = None

    def __call__(self, plan: Plan, places: Sequence[int]) -> bool:
        """Ask the requests at some places; whether more can be asked."""
        if self._writer.is_sealed:
            return True
        row = {plan.request_id[place]: place for place in places}
        found = collect(
            self._teacher,
            asks_of(plan, places),
            self._writer,
            budget=self._budget,
            price=self._price,
            count_tokens=self._count,
            columns=lambda ask: columns_of(plan, row[ask.request_id]),
            progress=self._progress,
        )
        self.stopped_by = self.stopped_by or found.stopped_by
        self._first_error = self._first_error or found.first_error
        self._before += found.asked + found.skipped
        self._usable += found.asked - found.failed + found.skipped
        if not self._usable:
            self._refuse()
        return self.stopped_by is None

    def _refuse(self) -> None:
        """Leave the folder unsealed where nothing was answered, so that the same command asks again."""
        why = self._first_error or f"the budget of {self.stopped_by} covers no request"
        raise AttackError(
            f"no request got a usable answer: {why}. Put that right and give the same command again: failed requests "
            "are asked once more"
        )

    def _progress(self, state: Collected) -> None:
        self._say(self._before + state.asked + state.skipped, self._requests)
