"""What the last students learnt, and what the teacher wrote, decide what is asked next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdguard.distill.transcripts.reader import Transcripts
from kdguard.errors import AttackError
from kdguard.simulate.attack.learn import Learnt, learn
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.rounds import stretches
from kdguard.simulate.attack.selection.hard_samples import discriminate, next_prompts
from kdguard.simulate.attack.selection.uncertainty import largest
from kdguard.simulate.attack.sources.evolved import evolve, meta_prompt, novel, rouge_l
from kdguard.simulate.attack.sources.source import PromptSource
from kdguard.simulate.attack.student_choice import answers_of, student_scores
from kdguard.simulate.seeds import stream

HARD_GAP = 0.5
"""ROUGE-L that a student's answer lacks to the teacher's for its prompt to be hard."""
HARD_SHARE = 0.8
"""Share of new prompts that are written after hard ones."""


@dataclass(frozen=True)
class Chooser:
    """Chooses the prompts of a round.

    Attributes:
        recipe: Method, candidates, and how quick students are trained.
        source: Where candidates come from.
        tokenizer: The teacher's, where it is known.
    """

    recipe: Recipe
    source: PromptSource
    tokenizer: object = None

    @property
    def rounds(self) -> int:
        """How many there are."""
        return self.recipe.prompts.rounds

    def first(self, count: int) -> list[str]:
        """Prompts of the first round: what the source gives."""
        return self.source.draw(count, self._stream(0))

    def next(self, number: int, count: int, plan: Plan, told: Transcripts) -> list[str]:
        """Prompts of a later round, from what was answered before."""
        rng, table = self._stream(number), self.recipe.prompts
        if table.teacher_writes and number % 2 == 0:
            return self._written(number, count, plan, told, rng)
        if table.selection == "self_instruct":
            known = list(self._tasks(number, plan, told))
            return [meta_prompt(known, rng) for _ in range(count)]
        if table.selection == "hard_samples":
            seeds = self._hard(number, count, plan, told)
            if table.writer == "teacher":
                return [meta_prompt([seed, *seeds], rng) for seed in seeds]
            return [evolve(seed, rng) for seed in seeds]
        return self._uncertain(count, plan, told, rng)

    def _uncertain(self, count: int, plan: Plan, told: Transcripts, rng: np.random.Generator) -> list[str]:
        """Candidates of which one student is least sure, or on which two differ most."""
        method = self.recipe.prompts.selection
        students = [self._student(plan, told, i) for i in range(2 if method == "disagreement" else 1)]
        drawn = self.source.draw(count * self.recipe.prompts.candidates, rng)
        candidates = list(dict.fromkeys(drawn))
        scores = student_scores(method, students, candidates, self.recipe.ask.system)
        best = largest(scores, min(count, len(candidates)))
        return [candidates[place] for place in np.resize(best, count).tolist()]

    def _hard(self, number: int, count: int, plan: Plan, told: Transcripts) -> list[str]:
        """Seeds of new prompts, most of them hard for the student: the teacher's answers are the referee."""
        student = self._student(plan, told, 0)
        known = self._tasks(number, plan, told)
        prompts = list(known)[-4 * count :]
        said = answers_of(student, prompts, self.recipe.ask.system, self.recipe.ask.max_tokens)
        likeness = np.array(
            [rouge_l(known[prompt], text) for prompt, text in zip(prompts, said, strict=True)]
        )
        split = discriminate(np.ones(len(prompts)), likeness, HARD_GAP)
        hard, easy = ([prompts[place] for place in part.tolist()] for part in (split.hard, split.easy))
        return next_prompts(hard, easy, count, HARD_SHARE)

    def _written(
        self, number: int, count: int, plan: Plan, told: Transcripts, rng: np.random.Generator
    ) -> list[str]:
        """Tasks that the teacher wrote in the round before; where there are too few new ones, the source's."""
        written = _answers(plan, told, stretches(plan, self.rounds)[number - 1].tolist())
        known = self._tasks(number, plan, told)
        found = novel([one.partition("\n")[0] for one in written.values()], list(known))[:count]
        return found + self.source.draw(count - len(found), rng)

    def _tasks(self, number: int, plan: Plan, told: Transcripts) -> dict[str, str]:
        """Answers by prompt of the rounds before, without those that asked for tasks."""
        step = 2 if self.recipe.prompts.teacher_writes else 1
        parts = stretches(plan, self.rounds)[:number:step]
        found = _answers(plan, told, np.concatenate(parts).tolist())
        if not found:
            raise AttackError(
                "no attack request of the rounds before has an answer to choose the next prompts by"
            )
        return found

    def _student(self, plan: Plan, told: Transcripts, which: int) -> Learnt:
        table = self.recipe.student
        if table is None:
            raise AttackError("a selection by students needs a table 'student' in the recipe")
        quick = table.model_copy(update={"steps": max(table.steps // 2, 1), "own_examples": 0})
        return learn(told, plan, quick, teacher_tokenizer=self.tokenizer, seed=self.recipe.seed + which)

    def _stream(self, number: int) -> np.random.Generator:
        return stream(self.recipe.seed, "round", str(number))


def _answers(plan: Plan, told: Transcripts, places: Sequence[int]) -> dict[str, str]:
    """First answers by prompt to the attack requests at some places, in the order of the log."""
    wanted = {plan.request_id[place] for place in places if plan.attack[place]}
    rows = told.exchanges.select(["request_id", "choice", "prompt", "response"]).to_pylist()
    return {
        row["prompt"]: row["response"]
        for row in rows
        if row["request_id"] in wanted and row["choice"] == 0 and row["response"]
    }
