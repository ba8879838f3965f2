"""What the watermark commands print: one line a subject, the null hypothesis, and never a word of innocence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson
import typer

if TYPE_CHECKING:
    from kdguard.detectors.watermark.verdict import Verdict
    from kdguard.evidence import Abstention


def tell(found: Sequence[Verdict | Abstention], *, alpha: float, as_json: bool) -> bool:
    """Print verdicts and abstentions; whether any mark is detected, at `alpha` over all subjects together."""
    from kdguard.detectors.watermark.lines import found_in, lines_of

    if as_json:
        for line in lines_of(found, alpha):
            typer.echo(orjson.dumps(line).decode())
    else:
        _tell_people(found, alpha)
    return bool(found_in(found, alpha))


def _tell_people(found: Sequence[Verdict | Abstention], alpha: float) -> None:
    from kdguard.detectors.watermark.lines import adjusted_p
    from kdguard.detectors.watermark.verdict import MEANING, NO_EVIDENCE
    from kdguard.evidence import Abstention

    p_adjusted = adjusted_p(found)
    for one in found:
        if isinstance(one, Abstention):
            typer.echo(f"{one.subject}: abstains. {one.reason}")
        else:
            verdict = "mark detected" if p_adjusted[one.title] <= alpha else f"not detected: {NO_EVIDENCE}"
            typer.echo(f"{one.title}: {verdict} ({one.guarantee.value})\n  {_counts(one, alpha)}")
    typer.echo(f"{MEANING}.", err=True)


def _counts(one: Verdict, alpha: float) -> str:
    told = one.summary.partition(". H0")[0]
    floor = f"; no p below {one.p_floor:.1g} is possible with so few decoys" if one.p_floor > alpha else ""
    return f"{told}{one.left_out}{floor}"
