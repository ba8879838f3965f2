"""A lineage test as plain values: what a report draws, and what a program reads later."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from kdguard.lineage.beside import Overlaps
from kdguard.lineage.confounds import Confound, what_would_change
from kdguard.lineage.families import Families
from kdguard.lineage.overlap import longest_shared
from kdguard.lineage.ranked import Ranked
from kdguard.lineage.responses import Responses
from kdguard.lineage.verdict import LineageVerdict

SCHEMA_VERSION = 1
_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 1_200
_WORD = re.compile(r"\w+")


def record(
    verdicts: Sequence[LineageVerdict],
    alpha: float,
    overlaps: Overlaps,
    confounds: Mapping[tuple[str, str], Sequence[Confound]],
    examples: Mapping[tuple[str, str], Sequence[Mapping[str, str]]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of one test.

    Args:
        verdicts: One a suspect and family.
        alpha: Level of a claim.
        overlaps: What was copied, by suspect and family.
        confounds: Other explanations, by suspect and family.
        examples: Answers side by side, by suspect and family; see `alike`.
        about: Inputs, versions, parameters, command, time.
    """
    told = []
    for verdict in verdicts:
        key = verdict.suspect, verdict.teacher_family
        own = overlaps.get(key)
        told.append(
            verdict.to_json()
            | {
                "course": None if verdict.ranked is None else _course(verdict.ranked),
                "overlap": None if own is None else asdict(own) | {"unusual": own.is_unusual},
                "confounds": [asdict(one) for one in confounds.get(key, ())],
                "would_change": list(what_would_change(verdict, alpha)),
                "examples": [dict(one) for one in examples.get(key, ())],
            }
        )
    return {
        "kind": "lineage_report",
        "schema_version": SCHEMA_VERSION,
        "alpha": alpha,
        "verdicts": told,
        "about": dict(about),
    }


def _course(ranked: Ranked) -> dict[str, Any]:
    return {
        "looks": list(ranked.looks[: ranked.last + 1]),
        "p_at_look": ranked.p_at_look.tolist(),
        "log10_e_at_look": ranked.log10_e_at_look.tolist(),
        "controls": list(ranked.controls),
        "scores": [None if np.isnan(one) else round(float(one), 4) for one in ranked.scores],
    }


def alike(
    responses: Responses, families: Families, pairs: Sequence[tuple[str, str]], prompts: Mapping[str, str]
) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Answers side by side in which suspect and family have most pairs of words in common beyond the other families.

    Args:
        responses: Answers of all models.
        families: Families of the table.
        pairs: Suspects and names of families.
        prompts: Texts of prompts by id, as far as they are known.
    """
    excess: dict[tuple[str, str], list[tuple[float, int, int]]] = {pair: [] for pair in pairs}
    members = [int(member) for member in np.flatnonzero(families.of_model >= 0)]
    suspects = {suspect: responses.place(suspect) for suspect, _ in pairs}
    for at in range(len(responses.prompts)):
        words = {
            model: _pairs_of_words(_text(responses, at, model)) for model in {*members, *suspects.values()}
        }
        shares = {
            suspect: {member: _jaccard(words[own], words[member]) for member in members if member != own}
            for suspect, own in suspects.items()
        }
        for (suspect, family), told in excess.items():
            mine, others = _split(shares[suspect], families, families.names.index(family))
            if mine and words[suspects[suspect]]:
                best = max(mine, key=lambda member: mine[member])
                told.append((mine[best] - sum(others) / max(len(others), 1), at, best))
    return {
        (suspect, family): [
            _example(responses, at, suspects[suspect], teacher, prompts)
            for _, at, teacher in sorted(told, key=lambda one: -one[0])[:_EXAMPLES]
        ]
        for (suspect, family), told in excess.items()
    }


def _split(
    shares: Mapping[int, float], families: Families, family: int
) -> tuple[dict[int, float], list[float]]:
    """Shares with the family's members, and those with the other families'."""
    mine = {member: share for member, share in shares.items() if families.of_model[member] == family}
    return mine, [share for member, share in shares.items() if member not in mine]


def _example(
    responses: Responses, at: int, suspect: int, teacher: int, prompts: Mapping[str, str]
) -> dict[str, str]:
    answer, theirs = (_text(responses, at, model)[:_EXAMPLE_CHARACTERS] for model in (suspect, teacher))
    return {
        "prompt_id": responses.prompts[at],
        "prompt": prompts.get(responses.prompts[at], "")[:_EXAMPLE_CHARACTERS],
        "teacher": responses.models[teacher],
        "suspect_answer": answer,
        "teacher_answer": theirs,
        "shared": longest_shared(answer, theirs),
    }


def _text(responses: Responses, prompt: int, model: int) -> str:
    return responses.texts[prompt * len(responses.models) + model].as_py() or ""


def _pairs_of_words(text: str) -> set[tuple[str, str]]:
    words = _WORD.findall(text.lower())
    return set(pairwise(words))


def _jaccard(left: set[tuple[str, str]], right: set[tuple[str, str]]) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared) if shared else 0.0
