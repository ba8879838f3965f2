"""The shipped probe set is varied, and a draw from it is public and repeatable."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from kdguard.errors import LineageError
from kdguard.lineage import responses_of
from kdguard.lineage.probes import ProbeSet, read_probes, shipped_probes

DIGEST = "1ab55344ad3dbde540d003449c736a4a79e01e8d7051e603043589f31feed5c5"
"""Answers that are stored were given to these words: a changed prompt needs a new version of the set."""


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return shipped_probes()


def test_the_set_is_the_one_that_its_version_names(probes: ProbeSet) -> None:
    assert (probes.name, probes.version) == ("kdguard", 1)
    assert probes.digest == DIGEST


def test_there_are_many_kinds_languages_and_lengths(probes: ProbeSet) -> None:
    kinds = Counter(probe.kind for probe in probes.probes)
    languages = Counter(probe.language for probe in probes.probes)
    words = sorted(len(probe.prompt.split()) for probe in probes.probes)
    assert len(probes) >= 600
    assert len(kinds) >= 30
    assert max(kinds.values()) <= 0.1 * len(probes)
    assert min(kinds.values()) >= 10
    assert len(languages) >= 15
    assert words[len(words) // 20] <= 6
    assert words[-len(words) // 20] >= 25


def test_no_two_prompts_are_alike(probes: ProbeSet) -> None:
    """Runs of three words that two prompts share, over all runs of both: filled-in templates share most of them."""
    runs = [_runs(probe.prompt) for probe in probes.probes]
    nearest = max(
        (len(one & other) / len(one | other), at, before)
        for at, one in enumerate(runs)
        for before, other in enumerate(runs[:at])
    )
    assert nearest[0] < 0.25, [probes.probes[at].prompt for at in nearest[1:]]
    openings = Counter(tuple(probe.prompt.lower().split()[:3]) for probe in probes.probes)
    assert max(openings.values()) <= 0.03 * len(probes)


def _runs(prompt: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", prompt.lower())
    return {tuple(words[at : at + 3]) for at in range(max(len(words) - 2, 1))}


def test_a_draw_is_repeatable_and_in_the_order_in_which_answers_are_looked_at(probes: ProbeSet) -> None:
    drawn = probes.drawn(7, 50)
    assert drawn == probes.drawn(7, 50)
    assert drawn[:20] == probes.drawn(7, 20)
    assert set(drawn) != set(probes.drawn(8, 50))
    frame = pd.DataFrame({"model": "m", "prompt_id": [one.prompt_id for one in drawn], "response": "x"})
    assert responses_of(frame, seed=7).prompts == tuple(one.prompt_id for one in drawn)


def test_a_commitment_names_the_set_the_seed_and_the_draw(probes: ProbeSet) -> None:
    told = probes.committed(7, 50)
    assert told["probe_set_digest"] == DIGEST
    assert (told["seed"], told["queries"]) == (7, 50)
    assert told["draw_digest"] != probes.committed(8, 50)["draw_digest"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,prompt\n1,x\n", "missing prompt_id"),
        ("prompt_id,prompt\n", "at least one prompt"),
        ("prompt_id,prompt\n1,\n", "'1' is empty"),
        ("prompt_id,prompt\n1,What?\n1,Why?\n", "two prompts have the id '1'"),
        ("prompt_id,prompt\n1,What?\n2,What? \n", "'1' and '2' are the same prompt"),
    ],
)
def test_prompts_that_cannot_be_asked_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(text)
    with pytest.raises(LineageError, match=message):
        read_probes(file)


def test_more_prompts_than_there_are_cannot_be_drawn(probes: ProbeSet) -> None:
    with pytest.raises(LineageError, match=f"1 to {len(probes)} prompts"):
        probes.drawn(0, 10_000)
