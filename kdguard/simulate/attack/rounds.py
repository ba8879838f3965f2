"""Prompts chosen round by round: what the last students learnt decides what is asked next.

A plan whose prompts are not known yet holds slots, `⟦0⟧`, `⟦1⟧`, ...; tactics may word things around them, and each
round fills the slots of its own stretch of time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdguard.distill.transcripts.reader import Transcripts
from kdguard.errors import AttackError
from kdguard.simulate.attack.learn import Learnt, learn
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.selection.hard_samples import discriminate, next_prompts
from kdguard.simulate.attack.selection.uncertainty import largest
from kdguard.simulate.attack.sources.evolved import evolve, rouge_l
from kdguard.simulate.attack.sources.source import PromptSource
from kdguard.simulate.attack.student_choice import answers_of, student_scores
from kdguard.simulate.seeds import stream
from kdguard.simulate.setting import Ints

_SLOT = re.compile(r"⟦(\d+)⟧")
HARD_GAP = 0.5
"""ROUGE-L that a student's answer lacks to the teacher's for its prompt to be hard."""


def slots(count: int) -> list[str]:
    """Prompts to be filled in later."""
    return [f"⟦{i}⟧" for i in range(count)]


def fill(plan: Plan, places: Sequence[int], payloads: Sequence[str]) -> Plan:
    """Put payloads into the slots at some places, in the order of places; more payloads than slots are left over."""
    prompts, waiting = list(plan.calls.prompt), iter(payloads)
    for place in places:
        hit = _SLOT.search(prompts[place])
        if hit is not None:
            prompts[place] = prompts[place].replace(hit[0], next(waiting))
    return replace(plan, calls=replace(plan.calls, prompt=prompts))


def open_slots(plan: Plan, places: Sequence[int]) -> int:
    """How many of the requests at some places have no prompt yet."""
    return sum(_SLOT.search(plan.calls.prompt[place]) is not None for place in places)


def stretches(plan: Plan, rounds: int) -> list[Ints]:
    """Places of each round: as many requests each, one stretch of time after another."""
    return np.array_split(np.arange(len(plan)), rounds)


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

    def first(self, count: int) -> list[str]:
        """Prompts of the first round: what the source gives."""
        return self.source.draw(count, stream(self.recipe.seed, "round", "0"))

    def next(self, number: int, count: int, plan: Plan, told: Transcripts) -> list[str]:
        """Prompts of a later round, from what was answered before."""
        rng = stream(self.recipe.seed, "round", str(number))
        method = self.recipe.prompts.selection
        if method == "hard_samples":
            return self._hard(count, plan, told, rng)
        students = [self._student(plan, told, i) for i in range(2 if method == "disagreement" else 1)]
        drawn = self.source.draw(count * self.recipe.prompts.candidates, rng)
        candidates = list(dict.fromkeys(drawn))
        scores = student_scores(method, students, candidates, self.recipe.ask.system)
        best = largest(scores, min(count, len(candidates)))
        return [candidates[place] for place in np.resize(best, count).tolist()]

    def _hard(self, count: int, plan: Plan, told: Transcripts, rng: np.random.Generator) -> list[str]:
        """More of what the student fails at: the teacher's answers are the referee."""
        student = self._student(plan, told, 0)
        attack = {name for name, hit in zip(plan.request_id, plan.attack.tolist(), strict=True) if hit}
        rows = told.exchanges.select(["request_id", "choice", "prompt", "response"]).to_pylist()
        known = {
            row["prompt"]: row["response"]
            for row in rows
            if row["request_id"] in attack and row["choice"] == 0 and row["response"]
        }
        prompts = list(known)[-4 * count :]
        said = answers_of(student, prompts, self.recipe.ask.system, self.recipe.ask.max_tokens)
        likeness = np.array(
            [rouge_l(known[prompt], text) for prompt, text in zip(prompts, said, strict=True)]
        )
        split = discriminate(np.ones(len(prompts)), likeness, HARD_GAP)
        hard, easy = ([prompts[place] for place in part.tolist()] for part in (split.hard, split.easy))
        return [evolve(prompt, rng) for prompt in next_prompts(hard, easy, count, 0.8)]

    def _student(self, plan: Plan, told: Transcripts, which: int) -> Learnt:
        table = self.recipe.student
        if table is None:
            raise AttackError("a selection by students needs a table 'student' in the recipe")
        quick = table.model_copy(update={"steps": max(table.steps // 2, 1), "own_examples": 0})
        return learn(told, plan, quick, teacher_tokenizer=self.tokenizer, seed=self.recipe.seed + which)


def run_rounds(
    plan: Plan, chooser: Chooser, ask: Callable[[Plan, Sequence[int]], None], read: Callable[[], Transcripts]
) -> Plan:
    """Ask a plan round by round.

    Args:
        plan: With slots, or with prompts where nothing is chosen.
        chooser: Fills slots.
        ask: Asks the requests at some places and keeps the answers.
        read: What was answered so far.

    Returns:
        The plan with all prompts.
    """
    for number, places in enumerate(stretches(plan, chooser.recipe.prompts.rounds)):
        count = open_slots(plan, places.tolist())
        if count:
            chosen = chooser.next(number, count, plan, read()) if number else chooser.first(count)
            plan = fill(plan, places.tolist(), chosen)
        ask(plan, places.tolist())
    return plan
