"""What suspects are compared with, and what comes of it: stored or live, by command or in the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pandas as pd

import kdguard
from kdguard.errors import LineageError
from kdguard.lineage.beside import Overlaps, with_overlap
from kdguard.lineage.confounds import Confound, confounds, surroundings
from kdguard.lineage.controls import DEFAULT_KINDS, Controls, derived_controls, listed_controls
from kdguard.lineage.doubts import doubts, withheld
from kdguard.lineage.drift import Drift
from kdguard.lineage.families import Families, Family, place_families
from kdguard.lineage.protocol import Affinity
from kdguard.lineage.responses import Responses, responses_of
from kdguard.lineage.run import Claim, run_tests
from kdguard.lineage.verdict import LineageVerdict

MANY_ANSWERS = 10_000
"""From so many answers on, a second process is worth its start."""


@dataclass(frozen=True)
class Found:
    """Verdicts, and what they rest on.

    Attributes:
        verdicts: One a suspect and family.
        responses: Answers of everybody.
        families: Families that have answers.
        controls: Controls of each family.
        drift: Of a live suspect, if some prompts were asked again.
        doubts: What speaks against a suspect's answers.
        overlaps: What stands in teachers' answers word for word.
        manner: How a live suspect was asked.
        prompts: Texts of prompts by id, as far as they are known.
        same_prompts: Prompts left out because they stood under another id too.
        itself: Suspects that are members of the only family asked for.
    """

    verdicts: tuple[LineageVerdict, ...]
    responses: Responses
    families: Families
    controls: Controls
    drift: Drift | None = None
    doubts: Mapping[str, str] = field(default_factory=dict)
    overlaps: Overlaps = field(default_factory=dict)
    manner: str | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    same_prompts: int = 0
    itself: tuple[str, ...] = ()

    @property
    def told_apart(self) -> dict[str, bool]:
        """Families of which it is documented that no control has a link to them."""
        return dict(zip(self.families.names, map(bool, self.controls.told_apart), strict=True))

    def with_overlap(self) -> Found:
        """With what was copied word for word beside every verdict."""
        verdicts, overlaps = with_overlap(self.verdicts, self.responses, self.families)
        return replace(self, verdicts=verdicts, overlaps=overlaps)

    def confounds(self, alpha: float) -> dict[tuple[str, str], tuple[Confound, ...]]:
        """Other explanations of every verdict, by suspect and family."""
        around = surroundings(
            self.responses, self.families, alpha, doubts=self.doubts, drift=self.drift, manner=self.manner
        )
        apart = self.told_apart
        return {
            (one.suspect, one.teacher_family): confounds(one, around, told_apart=apart[one.teacher_family])
            for one in self.verdicts
        }


@dataclass(frozen=True)
class Against:
    """Stored answers, families, controls and the claim.

    Attributes:
        frame: Rows of `model, prompt_id, response` and whatever else the tables hold.
        families: As told.
        controls: Table of controls; None = every model outside the family.
        kinds: Kinds of controls.
        tests: At least one; the first of a kind drives verdicts.
        claim: What is asked.
        seed: Of the order of prompts.
        budget: Most prompts looked at.
        same_prompts: Prompts left out because they stood under another id too.
        workers: Processes, where there are many answers.
    """

    frame: pd.DataFrame
    families: tuple[Family, ...]
    controls: pd.DataFrame | None
    kinds: tuple[str, ...]
    tests: tuple[Affinity, ...]
    claim: Claim
    seed: int
    budget: int | None = None
    same_prompts: int = 0
    workers: int = 1

    def stored(self, suspects: Sequence[str], asked: int | None = None) -> Found:
        """Verdicts on suspects of the table, who were asked so many prompts; None = all.

        Raises:
            LineageError: No suspect is named, or one has no answers.
        """
        if not suspects:
            raise LineageError("no suspect: give --suspect NAME, a model of the table, or --suspect-url URL")
        return self.doubted(self.judged(self.table(), suspects, asked), suspects)

    def doubted(self, found: Found, suspects: Sequence[str]) -> Found:
        """The same, but nothing is claimed of suspects whose answers are doubtful; it looks at everybody's answers."""
        told = doubts(found.responses, self.frame, suspects)
        verdicts = tuple(
            withheld(one, told[one.suspect]) if one.suspect in told else one for one in found.verdicts
        )
        return replace(found, verdicts=verdicts, doubts=told)

    def table(self) -> Responses:
        """The answers, as many prompts as are to be looked at."""
        whole = responses_of(self.frame, seed=self.seed)
        return whole if self.budget is None else whole.first(self.budget)

    def judged(
        self, table: Responses, suspects: Sequence[str], asked: int | None = None, *, all_tests: bool = True
    ) -> Found:
        """Verdicts on a table, of which suspects were asked so many prompts; by the tests that decide, or by all."""
        placed = place_families(self.families, table)
        if self.controls is None:
            among = derived_controls(placed)
        else:
            among = listed_controls(self.controls, self.kinds, placed, table)
        claim = replace(self.claim, asked=asked)
        tests = self.tests if all_tests else deciding(self.tests, placed)
        workers = self.workers if len(table.texts) > MANY_ANSWERS else 1
        verdicts = run_tests(table, placed, among, suspects, tests, claim, workers=workers)
        itself = tuple(sorted(set(suspects) - {one.suspect for one in verdicts}))
        return Found(
            verdicts,
            table,
            placed,
            among,
            prompts=self.prompts,
            same_prompts=self.same_prompts,
            itself=itself,
        )

    def facts(self) -> dict[str, Any]:
        """What a report says of how the test was made."""
        return {
            "kdguard": kdguard.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seed of the order": self.seed,
            "alpha": self.claim.alpha,
            "families named beforehand": ", ".join(self.claim.named) or "none",
            "kinds of controls": ", ".join(self.kinds) if self.controls is not None else "not told",
        }

    @cached_property
    def prompts(self) -> dict[str, str]:
        """Texts of prompts by id, where the tables tell them."""
        if "prompt" not in self.frame:
            return {}
        known = self.frame[self.frame["prompt"].notna()]
        return dict(zip(known["prompt_id"].astype(str), known["prompt"].astype(str), strict=True))


def deciding(tests: Sequence[Affinity], families: Families) -> tuple[Affinity, ...]:
    """The tests that drive the verdict on some family: the first made for each kind."""
    kinds = {bool(imitated) for imitated in families.much_imitated}
    first = [
        next((one for one in tests if one.for_much_imitated == kind), tests[0]) for kind in sorted(kinds)
    ]
    return tuple(dict.fromkeys(first))


def usual_kinds(controls: pd.DataFrame) -> tuple[str, ...]:
    """Kinds of controls where nobody names any: those of the default kinds that a table has, or all of them."""
    return tuple(kind for kind in DEFAULT_KINDS if (controls["kind"] == kind).any()) or tuple(DEFAULT_KINDS)
