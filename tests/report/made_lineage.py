"""A record of a lineage test: a suspect that stands out, one that does not, and one that nothing can be said of."""

from __future__ import annotations

from typing import Any

HOSTILE = '<img src=x onerror="alert(1)">'


def verdict(suspect: str = "student", kind: str = "supported", **changes: Any) -> dict[str, Any]:
    """One verdict of a record."""
    told: dict[str, Any] = {
        "suspect": suspect,
        "teacher_family": f"north {HOSTILE}",
        "verdict": kind,
        "reason": "stands out among control models without a known link to the family",
        "p_value": 0.008,
        "p_adjusted": 0.008,
        "p_floor": 0.008,
        "log10_e": 2.4,
        "score": 4.0,
        "queries": 20,
        "controls": 124,
        "families_tested": 1,
        "guarantee": "conformal",
        "evidence": [
            {"detector": "fingerprint.similarity", "guarantee": "conformal", "summary": "words in common"},
            {
                "detector": "fingerprint.similarity.bet",
                "guarantee": "descriptive",
                "summary": "the first bet",
            },
            {"detector": "fingerprint.layout.bet", "guarantee": "descriptive", "summary": "another bet"},
        ],
        "course": {
            "looks": [10, 20],
            "p_at_look": [0.04, 0.008],
            "log10_e_at_look": [0.5, 2.4],
            "controls": [f"control-{at}" for at in range(124)],
            "scores": [(at % 40) / 20 - 1.0 for at in range(123)] + [None],
        },
        "overlap": {
            "share": 0.25,
            "nearly_verbatim": 3,
            "prompts": 20,
            "largest_control": 0.01,
            "controls_as_high": 0,
            "examples": ["7"],
            "unusual": True,
        },
        "confounds": [
            {"name": "length of answers", "checked": True, "finding": "much shorter", "weighs": True},
            {"name": "same base model", "checked": False, "finding": "not told", "weighs": False},
            {"name": "prompts left out", "checked": True, "finding": "none", "weighs": False},
        ],
        "would_change": ["1 more of the controls standing as high"],
        "examples": [
            {
                "prompt_id": "7",
                "prompt": f"Say {HOSTILE}",
                "teacher": "north-1",
                "suspect_answer": f"Well, the quick brown fox jumps over the lazy dog {HOSTILE}\nand so on\u202e",
                "teacher_answer": "The quick brown fox jumps over the lazy dog at night",
                "shared": "the quick brown fox jumps over the lazy dog",
            }
        ],
    }
    return told | changes


def record() -> dict[str, Any]:
    """A record of three questions."""
    nothing = {"p_value": None, "p_adjusted": None, "log10_e": None, "score": None, "course": None}
    rest: dict[str, Any] = {"overlap": None, "confounds": [], "examples": [], "evidence": []}
    return {
        "kind": "lineage_report",
        "schema_version": 1,
        "alpha": 0.01,
        "verdicts": [
            verdict("innocent", "not_supported", p_value=0.4, p_adjusted=0.4, score=0.1),
            verdict(),
            verdict("silent", "inconclusive", reason="0 answers that are not empty", **nothing, **rest),
        ],
        "about": {
            "inputs": [{"name": "responses.parquet", "bytes": 1_000, "sha256": "ab" * 32}],
            "facts": {"kdguard": "0.1.0", "seed of the order": 0},
            "command": f"kdguard lineage test --suspect '{HOSTILE}'",
        },
    }
