"""A student's evaluation as `kdguard distill evaluate` saves it, without training anything."""

from __future__ import annotations

from typing import Any


def measured(value: float, n: int = 40) -> dict[str, Any]:
    return {"value": value, "low": max(value - 0.1, 0.0), "high": min(value + 0.1, 1.0), "n": n}


def part(value: float) -> dict[str, Any]:
    shares = {name: measured(value) for name in ("top_1", "sequence", "refusal", "tvd")}
    return shares | {"label": None, "kl_nats": measured(1 - value)}


ROLES = ("student", "teacher", "control")
PERPLEXITY = {"nats_per_token": measured(0.5), "perplexity": 1.6, "bits_per_byte": 0.2}
CALIBRATION = {
    "ece": 0.12,
    "n": 40,
    "bins": [{"from": 0.8, "to": 0.9, "n": 40, "confidence": 0.85, "right": 0.7}],
}
EFFICIENCY = {
    "latency_ms": {"p50": 10.0, "p95": 20.0, "p99": 30.0},
    "requests": 20,
    "tokens_per_s": 1000.0,
    "peak_process_bytes": 1 << 28,
    "peak_device_bytes": None,
    "device": "cpu",
    "price_per_hour": 2.0,
    "cost_per_1000_requests": {"together": 0.01, "one_at_a_time": 0.02},
}


def evaluation(roles: tuple[str, ...] = ROLES) -> dict[str, Any]:
    """The report of a student, and of whoever else is named."""
    has_teacher = "teacher" in roles
    values = {"student": 0.9, "control": 0.2}
    agreement = {role: part(values[role]) for role in roles if role != "teacher"} if has_teacher else None
    inherited = {"value": 0.5, "low": 0.2, "high": 0.8, "n": 30} if len(roles) == 3 else None
    return {
        "schema_version": 1,
        "kind": "student_evaluation",
        "versions": {"kdguard": "0.1.0", "torch": "2.13.0"},
        "setting": {"world": "aurora", "outside": [], "tasks": ["intents", "refusals"]},
        "models": {role: {"name": f"<{role}>", "parameters": 47_000, "vocabulary": 640} for role in roles},
        "vocabulary": "overlap" if has_teacher else None,
        "agreement": {"in_distribution": agreement, "out_of_distribution": agreement},
        "perplexity": {"corpus": dict.fromkeys(roles, PERPLEXITY)},
        "capability": {role: {"intents": measured(0.5), "refusals": None} for role in roles},
        "calibration": {role: {"tokens": CALIBRATION, "answers": None} for role in roles},
        "refusals": {
            "rates": {
                role: dict.fromkeys(("harmful", "borderline", "benign"), measured(0.5)) for role in roles
            },
            "topics": [{"topic": "<betting>", "n": 9} | dict.fromkeys(roles, 0.5)],
            "like_teacher": {"student": measured(0.9)} if has_teacher else {},
            "inherited": inherited,
        },
        "efficiency": dict.fromkeys(roles, EFFICIENCY),
        "dose": {"queries": 400, "teacher_tokens": 9, "teacher_share": 1.0, "graded_tokens": 0},
        "queries_per_point": {"of_agreement": 4.4, "of_agreement_above_control": None}
        if has_teacher
        else None,
        "history": [{"step": step, "text": 3.0 / step, "soft": 1.0 / step} for step in (10, 20, 30)],
    }
