"""`kdguard lineage logprobs`: suspects read by log-probabilities, or by what their answers come down to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli.lineage.options import level_of_test
from kdguard.errors import LineageError


def logprobs(
    families: Annotated[
        Path, typer.Option(help="TOML, one table a teacher family with its members.", exists=True)
    ],
    controls: Annotated[Path, typer.Option(help="Table teacher_family, control, kind.", exists=True)],
    suspect: Annotated[list[str], typer.Option(help="Model to test; repeatable.")],
    texts: Annotated[
        Path | None, typer.Option(help="Table text_id, family, prompt_id, tokens.", exists=True)
    ] = None,
    likelihoods: Annotated[
        Path | None, typer.Option(help="Table model, text_id, logprob (nats, whole text).", exists=True)
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(help="Packed likeliest tokens (tokens.parquet), ids MODEL/PROMPT.", exists=True),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Table model, prompt_id, label: what answers decide.", exists=True)
    ] = None,
    family: Annotated[list[str] | None, typer.Option(help="Family named beforehand; repeatable.")] = None,
    adjust: Annotated[bool, typer.Option("--adjust/--no-adjust", help="Correct over all families.")] = True,
    control_kind: Annotated[list[str] | None, typer.Option(help="Kinds of controls; repeatable.")] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Most texts read from a suspect.")] = None,
    alpha: Annotated[
        float, typer.Option(callback=level_of_test, min=0, max=1, help="Chance of a false claim.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Public seed of the order of prompts.")] = 0,
    case: Annotated[
        Path | None,
        typer.Option(help="Write a case for 'audit sign'; one suspect, one --family.", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a suspect and family.")] = False,
) -> None:
    """Rank suspects among controls by likelihoods of the teacher's answers, likeliest tokens, or decisions.

    One kind of reading a call, so that there is one p a question.
    Exit status: 0 nothing supported, 1 a lineage is supported, 2 bad usage or input.
    """
    from kdguard import lineage
    from kdguard.cli.lineage.cases import write
    from kdguard.cli.lineage.lines import finish
    from kdguard.detectors.fingerprint.logprobs import from_labels, from_likelihoods, from_tokens
    from kdguard.detectors.fingerprint.logprobs.claims import NAME, VERSION, case_of
    from kdguard.lineage.controls import DEFAULT_KINDS

    known = lineage.read_families(families)
    if (likelihoods is None) != (texts is None) or sum(map(bool, (likelihoods, tokens, labels))) != 1:
        raise LineageError("give --texts with --likelihoods, or --tokens, or --labels: one kind of reading")
    if texts and likelihoods:
        read = from_likelihoods(texts, likelihoods, known, seed=seed, budget=budget)
    elif tokens:
        read = from_tokens(tokens, known)
    else:
        read = from_labels(Path(str(labels)), known)
    claim = lineage.Claim(alpha=alpha, named=tuple(family or ()), adjust=adjust)
    kinds = control_kind or DEFAULT_KINDS
    verdicts = read.examine(controls, kinds, suspect, claim)
    if case:
        if len(suspect) != 1 or len(family or ()) != 1:
            raise LineageError("a case is about one suspect and one --family")
        inputs = [path for path in (texts, likelihoods, tokens, labels, controls, families) if path]
        parts = case_of(read, read.listed(controls, kinds), suspect[0], claim.named[0])
        write((NAME, VERSION), parts, inputs, case)
    finish(verdicts, as_json=as_json)
