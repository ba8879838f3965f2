"""A suspect behind an endpoint: asked in batches, looked at after each, and left alone once the verdict is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pandas as pd

from kdguard.errors import LineageError
from kdguard.lineage.asking import Asking, Manner
from kdguard.lineage.compared import Against, Found
from kdguard.lineage.contrast import FIRST_LOOK, looks
from kdguard.lineage.doubts import doubts, withheld
from kdguard.lineage.drift import Drift, asked_again, drift
from kdguard.lineage.probes import Probe
from kdguard.lineage.responses import Responses, responses_of
from kdguard.lineage.verdict import Lineage, LineageVerdict


class Judge(Protocol):
    """Gives verdicts on the suspect."""

    def __call__(self, table: Responses, asked: int, /, *, last: bool) -> tuple[LineageVerdict, ...]:
        """Verdicts on a table.

        Args:
            table: Answers of everybody; the suspect's as far as it was asked.
            asked: Prompts it was asked so far, see `Claim.asked`.
            last: The look at which asking stopped; at others the tests that decide are enough.
        """
        ...


@dataclass(frozen=True)
class Examined:
    """What came of asking a suspect.

    Attributes:
        verdicts: At the stop.
        asked: Prompts asked for the verdict.
        drift: What asking some of them again showed; None = not asked again.
        doubt: What speaks against its answers; None = nothing.
        answers: Its answers, with `model`.
    """

    verdicts: tuple[LineageVerdict, ...]
    asked: int
    drift: Drift | None
    doubt: str | None
    answers: pd.DataFrame


def found_live(
    compared: Against,
    asking: Asking,
    probes: Sequence[Probe],
    suspect: str,
    manner: Manner,
    *,
    again: bool = True,
) -> tuple[Found, pd.DataFrame]:
    """Ask a suspect until its verdict is decided; what was found, and its answers.

    Args:
        compared: What it is compared with.
        asking: Asks the suspect.
        probes: From `shared_probes`.
        suspect: Name of the suspect.
        manner: How it is asked, for the report.
        again: Ask some prompts again.

    Raises:
        LineageError: The table has a model of that name, or the suspect answers nothing.
    """
    found: list[Found] = []

    def judge(table: Responses, asked: int, *, last: bool) -> tuple[LineageVerdict, ...]:
        found.append(compared.judged(table, [suspect], asked, all_tests=last))
        return found[-1].verdicts

    done = examine_live(asking, probes, compared.frame, suspect, judge, seed=compared.seed, again=again)
    told = f"at most {manner.max_tokens} tokens, temperature {manner.temperature:g}"
    whole = replace(
        found[-1],
        verdicts=done.verdicts,
        drift=done.drift,
        doubts={} if done.doubt is None else {suspect: done.doubt},
        prompts={probe.prompt_id: probe.prompt for probe in probes},
        manner=told if manner.system is None else f"{told} and a system prompt",
    )
    return whole, done.answers


def shared_probes(drawn: Sequence[Probe], frame: pd.DataFrame) -> tuple[Probe, ...]:
    """Prompts that the stored models have answered, in the order in which they are to be asked.

    Raises:
        LineageError: Too few, or the table's prompts are other ones than the probes of the same id.
    """
    ids = frame["prompt_id"].astype(str)
    known = set(ids)
    shared = tuple(probe for probe in drawn if probe.prompt_id in known)
    if len(shared) < FIRST_LOOK:
        raise LineageError(
            f"the stored answers and the probes share {len(shared)} prompt ids, at least {FIRST_LOOK} are needed: give "
            "--probes FILE (prompt_id, prompt) with the prompts that the stored models were asked"
        )
    if "prompt" in frame:
        text = dict(zip(ids, frame["prompt"], strict=True))
        other = [one.prompt_id for one in shared if isinstance(text[one.prompt_id], str)]
        wrong = [one for one in shared if one.prompt_id in other and text[one.prompt_id] != one.prompt]
        if wrong:
            raise LineageError(
                f"prompt '{wrong[0].prompt_id}' of the stored answers reads otherwise than the probe of that id: "
                "answers to different prompts cannot be compared"
            )
    return shared


def examine_live(
    asking: Asking,
    probes: Sequence[Probe],
    frame: pd.DataFrame,
    suspect: str,
    judge: Judge,
    *,
    seed: int,
    again: bool = True,
) -> Examined:
    """Ask a suspect until its verdict is decided or the prompts run out.

    It is looked at after 10, 20, 40, ... prompts. Its rank at a look is among the controls' suprema over all looks, so
    stopping at any look costs nothing. Then some of the first prompts are asked again: an endpoint that answers them
    otherwise than before was not one model, and nothing is claimed.

    Args:
        asking: Asks the suspect.
        probes: In the order of `seed`, all of them answered by the stored models.
        frame: Answers of teachers and controls.
        suspect: Name of the suspect; nobody in the table may have it.
        judge: Gives verdicts.
        seed: Of the order.
        again: Ask some prompts again.

    Raises:
        LineageError: The table has a model of that name, or the suspect answers nothing.
    """
    if suspect in set(frame["model"].astype(str)):
        raise LineageError(
            f"the stored answers have a model '{suspect}' already; name the suspect otherwise with --suspect"
        )
    ids = [probe.prompt_id for probe in probes]
    stored = frame[frame["prompt_id"].astype(str).isin(ids)]
    for asked in looks(len(probes)):
        answers = asking(probes[:asked]).assign(model=suspect)
        together = pd.concat([stored, answers], ignore_index=True)
        reached = asked if asking.stopped_by is None else _answered(probes, answers)
        table = responses_of(together, seed=seed)
        verdicts = judge(table, reached, last=False)
        if asking.stopped_by or any(one.verdict is Lineage.SUPPORTED for one in verdicts):
            break
    verdicts = judge(table, reached, last=True)
    found = ask_again(asking, probes[:reached], answers, seed) if again else None
    told = doubts(table, together, [suspect]).get(suspect)
    reason = found.reason if found is not None and found.changed else told
    if reason is not None:
        verdicts = tuple(withheld(one, reason) for one in verdicts)
    return Examined(verdicts, reached, found, told, answers)


def _answered(probes: Sequence[Probe], answers: pd.DataFrame) -> int:
    """Prompts up to the last one that was answered before the budget ended."""
    known = set(answers["prompt_id"])
    return max((at + 1 for at, probe in enumerate(probes) if probe.prompt_id in known), default=0)


def ask_again(asking: Asking, probes: Sequence[Probe], answers: pd.DataFrame, seed: int) -> Drift:
    """Ask the first prompts again, as far as the budget goes, and compare.

    Args:
        asking: Asks the endpoint.
        probes: All that were asked, in order.
        answers: First answers.
        seed: Of the swaps, see `drift`.
    """
    second = asking(probes[: asked_again(len(probes))], again=True)
    both = answers.merge(second, on="prompt_id", suffixes=("", "_again"))
    names = [*answers["answered_as"], *second["answered_as"]]
    return drift(list(both["response"]), list(both["response_again"]), names=names, seed=seed)
