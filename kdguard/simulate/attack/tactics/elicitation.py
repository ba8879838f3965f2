"""T8: requests worded for what a student learns most from: reasoning, gradings, tool calls, refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.tactics.transform import chosen, mark, with_prompts
from kdguard.simulate.grammar import Half
from kdguard.simulate.techniques import WRAPPED, languages_of, script

TOOL_TRACE, REFUSAL_PROBE = "tool_trace", "refusal_probe"
TARGETS = (*WRAPPED, TOOL_TRACE, REFUSAL_PROBE)
TOOLS = (
    '[{"type":"function","function":{"name":"search","parameters":{"type":"object","properties":'
    '{"query":{"type":"string"}},"required":["query"]}}},{"type":"function","function":{"name":"calculate",'
    '"parameters":{"type":"object","properties":{"expression":{"type":"string"}},"required":["expression"]}}}]'
)


@dataclass(frozen=True)
class Elicitation:
    """Wrap prompts in the wording of a technique, offer tools, or probe what is refused.

    Attributes:
        strength: Share of the attack requests that are worded so.
        target: A wrapped technique of `kdguard.simulate.techniques`, `tool_trace` or `refusal_probe`.
        language: Language of the wording.
    """

    strength: float
    target: str = "cot_elicit"
    language: str = "en"
    tactic: ClassVar[int] = 8

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise AttackError(f"T8 needs a target of {', '.join(TARGETS)}, got '{self.target}'")
        if self.target in WRAPPED and self.language not in languages_of(self.target):
            raise AttackError(f"T8: '{self.target}' is not written in '{self.language}'")

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Another wording, and the technique as label, in a share of the attack requests."""
        places = chosen(plan, self.strength, rng)
        rows = np.flatnonzero(places).tolist()
        technique = [self.target if hit else old for hit, old in zip(places, plan.technique, strict=True)]
        plan = replace(plan, technique=technique)
        if self.target == TOOL_TRACE:
            tools = [TOOLS if hit else old for hit, old in zip(places, plan.calls.tools, strict=True)]
            plan = replace(plan, calls=replace(plan.calls, tools=tools))
        elif self.target == REFUSAL_PROBE:
            plan = with_prompts(plan, places, plan.setting.pools.draw("safety", len(rows), rng))
        elif rows:
            plan = with_prompts(plan, places, self._wrapped([plan.calls.prompt[i] for i in rows], plan, rng))
        return mark(plan, places, self.tactic)

    def _wrapped(self, payloads: list[str], plan: Plan, rng: np.random.Generator) -> list[str]:
        half: Half = "test" if plan.setting.pools.split == "test" else "fit"
        answers = plan.setting.pools.draw("answer", len(payloads) + 1, rng, self.language)
        return script(self.target, rng, split=half, language=self.language).write(payloads, answers, rng)
