"""Verdicts on many subjects as plain values: a line for each subject and key, corrected over all, and a closing line.

Where accounts have keys of their own, each is held against every subject, and p counts all accounts that have one,
whether their keys were asked or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kdguard.detectors.watermark.verdict import MEANING, NO_EVIDENCE, Verdict
from kdguard.evidence import Abstention
from kdguard.stats.multiplicity import holm

Found = Sequence[Verdict | Abstention]


def adjusted_p(found: Found) -> Mapping[str, float]:
    """Holm-adjusted p by title of verdict; subjects of which nothing could be told count as searched."""
    told = [one for one in found if not isinstance(one, Abstention)]
    if not told:
        return {}
    subjects = -(-len(found) // len({one.account for one in told}))
    p_values = holm([one.p_value for one in told], subjects * max(one.among for one in told)).tolist()
    return dict(zip((one.title for one in told), p_values, strict=True))


def detected_in(found: Found, alpha: float) -> list[Verdict]:
    """Verdicts that detect a mark, at `alpha` over all of them together."""
    p_adjusted = adjusted_p(found)
    return [one for one in found if not isinstance(one, Abstention) and p_adjusted[one.title] <= alpha]


def found_in(found: Found, alpha: float) -> list[str]:
    """Subjects in which a mark is detected, at `alpha` over all of them together."""
    return list(dict.fromkeys(one.subject for one in detected_in(found, alpha)))


def lines_of(found: Found, alpha: float) -> list[dict[str, Any]]:
    """One line a subject, as `--json` prints them, and their summary at the end."""
    p_adjusted, detected = adjusted_p(found), detected_in(found, alpha)
    named = list(dict.fromkeys(one.account for one in detected if one.among > 1))
    summary = {
        "subjects": len(found),
        "detected": len(detected),
        **({"accounts_named": named} if named else {}),
        "alpha": alpha,
        "null_hypothesis": MEANING,
        "note": NO_EVIDENCE if len(detected) < len(found) else None,
    }
    return [*(_line(one, p_adjusted, alpha) for one in found), {"summary": summary}]


def _line(one: Verdict | Abstention, p_adjusted: Mapping[str, float], alpha: float) -> dict[str, Any]:
    if isinstance(one, Abstention):
        return {"decision": "abstain"} | asdict(one)
    p = p_adjusted[one.title]
    return {
        "decision": "detected" if p <= alpha else "not_detected",
        "p_adjusted": p,
        "alpha": alpha,
    } | one.to_json()
