"""Verdicts on many subjects as plain values: one line a subject, corrected over all of them, and a closing line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kdguard.detectors.watermark.verdict import MEANING, NO_EVIDENCE, Verdict
from kdguard.evidence import Abstention
from kdguard.stats.multiplicity import holm

Found = Sequence[Verdict | Abstention]


def adjusted_p(found: Found) -> Mapping[str, float]:
    """Holm-adjusted p of every subject that was tested; those of which nothing could be told count as searched."""
    told = [one for one in found if not isinstance(one, Abstention)]
    p_values = holm([one.p_value for one in told], len(found)).tolist() if told else []
    return dict(zip((one.subject for one in told), p_values, strict=True))


def found_in(found: Found, alpha: float) -> list[str]:
    """Subjects whose mark is detected, at `alpha` over all of them together."""
    return [subject for subject, p in adjusted_p(found).items() if p <= alpha]


def lines_of(found: Found, alpha: float) -> list[dict[str, Any]]:
    """One line a subject, as `--json` prints them, and their summary at the end."""
    p_adjusted, hits = adjusted_p(found), len(found_in(found, alpha))
    summary = {
        "subjects": len(found),
        "detected": hits,
        "alpha": alpha,
        "null_hypothesis": MEANING,
        "note": NO_EVIDENCE if hits < len(found) else None,
    }
    return [*(_line(one, p_adjusted.get(one.subject), alpha) for one in found), {"summary": summary}]


def _line(one: Verdict | Abstention, p_adjusted: float | None, alpha: float) -> dict[str, Any]:
    if isinstance(one, Abstention):
        return {"decision": "abstain"} | asdict(one)
    detected = p_adjusted is not None and p_adjusted <= alpha
    decision = "detected" if detected else "not_detected"
    return {"decision": decision, "p_adjusted": p_adjusted, "alpha": alpha} | one.to_json()
