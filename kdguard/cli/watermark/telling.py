"""What the watermark commands print: one line a subject, the null hypothesis, and never a word of innocence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
import typer

if TYPE_CHECKING:
    from kdguard.detectors.watermark.verdict import Verdict
    from kdguard.evidence import Abstention


def tell(found: Sequence[Verdict | Abstention], *, alpha: float, as_json: bool) -> bool:
    """Print verdicts and abstentions; whether any mark is detected, at `alpha` over all subjects together."""
    from kdguard.detectors.watermark.verdict import MEANING, NO_EVIDENCE
    from kdguard.evidence import Abstention

    p_adjusted = _adjusted(found)
    for one in found:
        if as_json:
            typer.echo(orjson.dumps(_line(one, p_adjusted.get(one.subject), alpha)).decode())
        elif not isinstance(one, Abstention):
            verdict = "mark detected" if p_adjusted[one.subject] <= alpha else f"not detected: {NO_EVIDENCE}"
            typer.echo(f"{one.subject}: {verdict} ({one.guarantee.value})\n  {_counts(one, alpha)}")
        else:
            typer.echo(f"{one.subject}: abstains. {one.reason}")
    hits = len(found_in(found, alpha))
    if as_json:
        summary = {
            "subjects": len(found),
            "detected": hits,
            "alpha": alpha,
            "null_hypothesis": MEANING,
            "note": NO_EVIDENCE if hits < len(found) else None,
        }
        typer.echo(orjson.dumps({"summary": summary}).decode())
    else:
        typer.echo(f"{MEANING}.", err=True)
    return bool(hits)


def found_in(found: Sequence[Verdict | Abstention], alpha: float) -> list[str]:
    """Subjects whose mark is detected, at `alpha` over all of them together."""
    return [subject for subject, p in _adjusted(found).items() if p <= alpha]


def _adjusted(found: Sequence[Verdict | Abstention]) -> dict[str, float]:
    """Holm-adjusted p of every subject that was tested; those of which nothing could be told count as searched."""
    from kdguard.evidence import Abstention
    from kdguard.stats.multiplicity import holm

    told = [one for one in found if not isinstance(one, Abstention)]
    p_values = holm([one.p_value for one in told], len(found)).tolist() if told else []
    return dict(zip((one.subject for one in told), p_values, strict=True))


def _line(one: Verdict | Abstention, p_adjusted: float | None, alpha: float) -> dict[str, Any]:
    from kdguard.evidence import Abstention

    if isinstance(one, Abstention):
        return {"decision": "abstain"} | asdict(one)
    detected = p_adjusted is not None and p_adjusted <= alpha
    decision = "detected" if detected else "not_detected"
    return {"decision": decision, "p_adjusted": p_adjusted, "alpha": alpha} | one.to_json()


def _counts(one: Verdict, alpha: float) -> str:
    told = one.summary.partition(". H0")[0]
    floor = f"; no p below {one.p_floor:.1g} is possible with so few decoys" if one.p_floor > alpha else ""
    return f"{told}{one.left_out}{floor}"
