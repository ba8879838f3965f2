"""What suspects are compared with, and what comes of it: shared by stored and live suspects."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from kdguard import lineage
from kdguard.cli.lineage.ask import RESPONSES_FILE
from kdguard.cli.lineage.options import probes_of
from kdguard.detectors.fingerprint import default_tests
from kdguard.errors import LineageError
from kdguard.lineage import Claim, Controls, Families, Family, LineageVerdict, Responses
from kdguard.lineage.beside import Overlaps, with_overlap
from kdguard.lineage.controls import DEFAULT_KINDS
from kdguard.lineage.doubts import doubts, withheld
from kdguard.lineage.drift import Drift
from kdguard.lineage.protocol import Affinity
from kdguard.lineage.responses import COLUMNS
from kdguard.lineage.tables import once_each, read_frame

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

    def with_overlap(self) -> Found:
        """With what was copied word for word beside every verdict."""
        verdicts, overlaps = with_overlap(self.verdicts, self.responses, self.families)
        return replace(self, verdicts=verdicts, overlaps=overlaps)


@dataclass(frozen=True)
class Against:
    """Stored answers, families, controls and the claim.

    Attributes:
        frame: Rows of `model, prompt_id, response` and whatever else the tables hold.
        families: As told.
        controls: Table of controls; None = every model outside the family.
        kinds: Kinds of controls.
        claim: What is asked.
        seed: Of the order of prompts.
        budget: Most prompts looked at.
        same_prompts: Prompts left out because they stood under another id too.
    """

    frame: pd.DataFrame
    families: tuple[Family, ...]
    controls: pd.DataFrame | None
    kinds: tuple[str, ...]
    claim: Claim
    seed: int
    budget: int | None
    same_prompts: int = 0

    def stored(self, suspects: Sequence[str], asked: int | None = None) -> Found:
        """Verdicts on suspects of the table, who were asked so many prompts; None = all.

        Raises:
            LineageError: No suspect is named, or one has no answers.
        """
        if not suspects:
            raise LineageError("no suspect: give --suspect NAME, a model of the table, or --suspect-url URL")
        table = lineage.responses_of(self.frame, seed=self.seed)
        if self.budget is not None:
            table = table.first(self.budget)
        found = self.judged(table, suspects, asked)
        told = doubts(table, self.frame, suspects)
        verdicts = tuple(
            withheld(one, told[one.suspect]) if one.suspect in told else one for one in found.verdicts
        )
        return replace(found, verdicts=verdicts, doubts=told)

    def judged(
        self, table: Responses, suspects: Sequence[str], asked: int | None = None, *, all_tests: bool = True
    ) -> Found:
        """Verdicts on a table, of which suspects were asked so many prompts; by the tests that decide, or by all."""
        placed = lineage.place_families(self.families, table)
        if self.controls is None:
            among = lineage.derived_controls(placed)
        else:
            among = lineage.listed_controls(self.controls, self.kinds, placed, table)
        claim = replace(self.claim, asked=asked)
        tests = default_tests() if all_tests else deciding(default_tests(), placed)
        workers = min(2, os.cpu_count() or 1) if len(table.texts) > MANY_ANSWERS else 1
        verdicts = lineage.test(table, placed, among, suspects, tests, claim, workers=workers)
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

    @property
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


def against(
    responses: Sequence[Path],
    families: Path,
    controls: Path | None,
    kinds: Sequence[str] | None,
    claim: Claim,
    *,
    seed: int,
    budget: int | None,
    probes: Path | None = None,
) -> Against:
    """Read all of it; the texts of prompts come from `probes` where no table of answers tells them.

    Raises:
        LineageError: Something cannot be used.
    """
    table = None if controls is None else lineage.read_controls(controls)
    usual = (
        DEFAULT_KINDS if table is None else [kind for kind in DEFAULT_KINDS if (table["kind"] == kind).any()]
    )
    answers = pd.concat([_answers(path) for path in responses], ignore_index=True)
    frame, same_prompts = once_each(answers if probes is None else _with_prompts(answers, probes))
    return Against(
        frame,
        lineage.read_families(families),
        table,
        tuple(kinds or usual or DEFAULT_KINDS),
        claim,
        seed,
        budget,
        same_prompts,
    )


def _with_prompts(frame: pd.DataFrame, probes: Path) -> pd.DataFrame:
    known = {probe.prompt_id: probe.prompt for probe in probes_of(probes).probes}
    asked = frame["prompt_id"].astype(str).map(known)
    return frame.assign(prompt=frame["prompt"].fillna(asked) if "prompt" in frame else asked)


def _answers(path: Path) -> pd.DataFrame:
    return read_frame(path / RESPONSES_FILE if path.is_dir() else path, COLUMNS)
