"""The operator behind a campaign: a script, a task list, and what the technique itself changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdguard.simulate.activity import Activity
from kdguard.simulate.grammar import Half
from kdguard.simulate.setting import Ints, Setting, draw_language
from kdguard.simulate.techniques import PAYLOAD_KINDS, WRAPPED, Script, languages_of, script

_EFFORT = {
    "cot_elicit": 500.0,
    "trace_coercion": 350.0,
    "rubric_grade": 90.0,
    "pref_pair": 120.0,
    "evol_instruct": 450.0,
    "capability_sweep": 350.0,
    "label_harvest": 8.0,
    "technique_sweep": 300.0,
}
"""Median output tokens that a technique aims at; others keep the skeleton's."""
SWEEP_SHARE = 0.3
"""Share of a technique sweep's requests before it settles on the winner."""


@dataclass(frozen=True)
class Operator:
    """One campaign's script and task list.

    Attributes:
        script: Prompt templates.
        winner: The script that a technique sweep scales up.
        kinds: Kinds of payload.
        topics: Topics of the pools that the campaign is after.
        tasks: Seed of the order of the task list.
    """

    script: Script
    winner: Script
    kinds: tuple[str, ...]
    topics: tuple[int, ...]
    tasks: int

    def payloads(
        self, setting: Setting, rng: np.random.Generator, n: int, shard: tuple[int, int] | None
    ) -> list[str]:
        """`n` payloads: from the account's own shard of one task list, or drawn from the topics."""
        language = self.script.language
        if shard is None:
            counts = rng.multinomial(n, np.full(len(self.kinds), 1 / len(self.kinds))).tolist()
            drawn = [
                text
                for kind, count in zip(self.kinds, counts, strict=True)
                for text in setting.pools.draw(kind, count, rng, language, self.topics)
            ]
            return [drawn[place] for place in rng.permutation(n).tolist()]
        tasks = [text for kind in self.kinds for text in setting.pools.pool(kind, language).texts]
        order = np.random.default_rng(self.tasks).permutation(len(tasks))
        index, count = shard
        own = order[
            index * len(order) // count : max(
                (index + 1) * len(order) // count, index * len(order) // count + 1
            )
        ]
        return [tasks[place] for place in np.resize(own, n).tolist()]

    def act(
        self,
        setting: Setting,
        rng: np.random.Generator,
        before: Activity,
        places: Ints,
        paraphrase: float,
        shard: tuple[int, int] | None,
    ) -> Activity:
        """Replace the prompts at `places` by the operator's and mark them as attack."""
        payloads = self.payloads(setting, rng, len(places), shard)
        answers = setting.pools.draw("answer", min(len(places), 500) + 1, rng, self.script.language)
        written = self._write(rng, payloads, answers, paraphrase)
        prompts = list(before.prompt)
        for place, text in zip(places.tolist(), written, strict=True):
            prompts[place] = text
        attack = before.attack.copy()
        attack[places] = True
        effort, refusal = before.effort.copy(), before.refusal.copy()
        technique = self.script.technique
        if technique in _EFFORT:
            effort[places] = _EFFORT[technique] * rng.lognormal(0, 0.4)
        if technique == "trace_coercion":
            refusal[places] = rng.beta(2, 12)
        if technique == "technique_sweep":
            refusal[places[: _sweep(len(places))]] = rng.uniform(0.6, 0.95)
        return replace(before, prompt=prompts, attack=attack, effort=effort, refusal=refusal)

    def _write(
        self, rng: np.random.Generator, payloads: list[str], answers: list[str], paraphrase: float
    ) -> list[str]:
        if self.script.technique != "technique_sweep":
            return self.script.write(payloads, answers, rng, paraphrase)
        tried = _sweep(len(payloads))
        first = self.script.write(payloads[:tried], answers, rng, 1.0)
        return first + self.winner.write(payloads[tried:], answers, rng, paraphrase)


def _sweep(n: int) -> int:
    return min(n, max(2, round(n * SWEEP_SHARE)))


def draw_operator(
    rng: np.random.Generator, setting: Setting, technique: str, language: str | None, half: Half
) -> Operator:
    """Draw an operator: language like an honest owner's, one to four templates, a narrow choice of topics."""
    spoken = draw_language(rng) if language is None else language
    if spoken not in languages_of(technique):
        spoken = "en"
    kinds = PAYLOAD_KINDS[technique]
    count = int(rng.integers(1, min(len(kinds), 2) + 1))
    winner = WRAPPED[int(rng.integers(len(WRAPPED) - 1))]
    return Operator(
        script=script(technique, rng, split=half, language=spoken),
        winner=script(
            winner, rng, split=half, language=spoken if spoken in languages_of(winner) else "en", templates=1
        ),
        kinds=tuple(kinds[i] for i in sorted(rng.permutation(len(kinds))[:count].tolist())),
        topics=tuple(rng.permutation(40)[: int(rng.integers(3, 25))].tolist()),
        tasks=int(rng.integers(2**31)),
    )
