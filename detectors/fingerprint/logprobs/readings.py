"""Three ways to read a model in numbers, each with the score that suits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdguard.detectors.fingerprint.logprobs.agreements import LABELS, agreements
from kdguard.detectors.fingerprint.logprobs.likelihoods import LIKELIHOOD, read_likelihoods
from kdguard.detectors.fingerprint.logprobs.topk import TOP_K, divergences_of, read_traces
from kdguard.errors import LineageError
from kdguard.lineage.controls import Controls, listed_controls, read_controls
from kdguard.lineage.families import Families, Family, place_families
from kdguard.lineage.matched import LEAN_APART, LEAN_OF_BOTH, MEAN_DIFFERENCE, Score
from kdguard.lineage.numbers import Numbers, examine_numbers, named
from kdguard.lineage.run import Claim
from kdguard.lineage.scored import About
from kdguard.lineage.tables import read_numbers
from kdguard.lineage.verdict import LineageVerdict


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read, of whom, and how it is scored.

    Attributes:
        numbers: Affinities.
        families: Placed on the models of `numbers`.
        about: The test.
        score: What is ranked.
    """

    numbers: Numbers
    families: Families
    about: About
    score: Score

    def listed(self, controls: Path, kinds: Sequence[str]) -> Controls:
        """Controls that a file names.

        Raises:
            LineageError: A kind of control is not known.
        """
        return listed_controls(read_controls(controls), kinds, self.families, named(self.numbers.models))

    def examine(
        self, controls: Path, kinds: Sequence[str], suspects: Sequence[str], claim: Claim
    ) -> tuple[LineageVerdict, ...]:
        """Verdicts on suspects, among the controls that a file names.

        Raises:
            LineageError: A suspect, family or kind of control is not known.
        """
        listed = self.listed(controls, kinds)
        return examine_numbers(self.numbers, self.families, listed, suspects, self.about, claim, self.score)


def from_likelihoods(
    texts: Path, likelihoods: Path, families: Sequence[Family], *, seed: int = 0, budget: int | None = None
) -> Readings:
    """Likelihoods of every family's answers; `budget` is the most texts read from a suspect."""
    numbers = read_likelihoods(texts, likelihoods, families, seed=seed)
    placed = place_families(families, named(numbers.models))
    return Readings(numbers.first(budget) if budget else numbers, placed, LIKELIHOOD, LEAN_OF_BOTH)


def from_tokens(path: Path, families: Sequence[Family]) -> Readings:
    """Likeliest tokens at the first words of answers to the same prompts; claims only what stands far."""
    traces = read_traces(path)
    models = tuple(sorted({model for model, _ in traces}))
    placed = place_families(families, named(models))
    return Readings(divergences_of(traces, models, placed), placed, TOP_K, LEAN_APART)


def from_labels(path: Path, families: Sequence[Family]) -> Readings:
    """What answers come down to: labels, numbers, tools, refusals."""
    table = read_numbers(path)
    if "model" not in table.columns:
        raise LineageError(f"{path}: must have columns model, prompt_id, label; missing model")
    models = tuple(sorted(table["model"].astype(str).unique()))
    placed = place_families(families, named(models))
    return Readings(agreements(table, placed, models), placed, LABELS, MEAN_DIFFERENCE)
