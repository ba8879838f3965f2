"""The manifest of an attack: what was asked of whom, what it cost, what came of it, and what made it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdguard.distill.teachers.budget import Price, Spent
from kdguard.distill.transcripts import folder as layout
from kdguard.exchanges.schema import SCHEMA_VERSION
from kdguard.exchanges.whole import replaced
from kdguard.simulate.attack.exact_readings import FILE as READINGS
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.tactics.transform import TACTICS
from kdguard.simulate.traffic import Simulated
from kdguard.simulate.write import counts, digest


def manifest_of(
    recipe: Recipe,
    plan: Plan,
    simulated: Simulated,
    *,
    out: Path,
    teachers: Sequence[Mapping[str, Any]],
    tactics: str,
    stopped_by: str | None,
    found: Mapping[str, Any],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that ties log, transcripts, student and truth together.

    Args:
        recipe: As run; kept whole.
        plan: After tactics and rounds.
        simulated: The log and its labels.
        out: Where files are.
        teachers: What is known about them, permission included; they are the student's parents.
        tactics: Tactics and strengths in one line.
        stopped_by: Limit that kept requests from being sent.
        found: What the attack brought home: a `student` gets its parents.
        files: Digests of the log's files.
    """
    sealed, student, log = layout.read_manifest(out), found.get("student"), simulated.table()
    ours = log.filter(pc.is_in(log["request_id"], value_set=pa.array(plan.request_id)))
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "attack",
        "about": sealed.get("about", {}),
        "versions": sealed.get("versions", {}),
        "recipe": recipe.model_dump(mode="json"),
        "recipe_digest": recipe.digest,
        "seed": recipe.seed,
        "teachers": [dict(one) for one in teachers],
        "permissions": [one.get("permission") for one in teachers],
        "ownership": recipe.ownership,
        "tactics": tactics,
        "tactic_requests": {f"T{i + 1}": n for i in range(TACTICS) if (n := _marked(plan, i))},
        "planned": {
            "requests": len(plan),
            "attack_requests": int(plan.attack.sum()),
            "accounts": _used(plan),
        },
        "spent": _spent(ours, price_of(recipe)),
        "answers_without_logprobs": _untold(ours, out),
        "stopped_by": stopped_by,
        "counts": counts(simulated),
        "student": None,
        **found,
        **({"student": {"parents": [_parent(one) for one in teachers]} | student} if student else {}),
        "files": dict(files) | _others(out),
    }


def write_manifest(manifest: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write it, whole or not at all, and give it as it will be read: it marks a complete run."""
    text = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
    with replaced(out / "manifest.json") as unfinished:
        unfinished.write_bytes(text)
    found: dict[str, Any] = orjson.loads(text)
    return found


def price_of(recipe: Recipe) -> Price:
    """What the recipe says that tokens cost."""
    table = recipe.budget
    return Price(
        input_per_million=table.input_price_per_million, output_per_million=table.output_price_per_million
    )


def _spent(ours: pa.Table, price: Price) -> dict[str, Any]:
    """What the attack's requests used, and how many of them had no usable answer."""
    sums = ours.group_by("request_id").aggregate(
        [("input_tokens", "max"), ("output_tokens", "sum"), ("status", "min")]
    )
    total, failed = Spent(), 0
    for row in sums.to_pylist():
        total = total.plus(price.of(row["input_tokens_max"] or 0, row["output_tokens_sum"] or 0))
        failed += row["status_min"] != 200
    return total.record() | {"failed_requests": failed}


def _untold(ours: pa.Table, out: Path) -> int:
    """Answers that came without the log-probabilities that were asked for: a teacher may leave them away."""
    asked = ours.filter((pc.field("logprobs") == True) & (pc.field("status") == 200))  # noqa: E712
    told = pq.read_table(out / layout.TOKENS_FILE, columns=["request_id", "choice"])
    keys = asked.select(["request_id", "choice"])
    return int(keys.join(told, ["request_id", "choice"], join_type="left anti").num_rows)


def _marked(plan: Plan, bit: int) -> int:
    return int(np.count_nonzero(plan.tactics >> bit & 1))


def _used(plan: Plan) -> int:
    return len(np.unique(plan.account))


def _parent(teacher: Mapping[str, Any]) -> dict[str, Any]:
    return {key: teacher.get(key) for key in ("name", "digest")}


def _others(out: Path) -> dict[str, str]:
    """Digests of what the log does not hold: tokens, readings, and weights."""
    found = [
        out / layout.TOKENS_FILE,
        out / READINGS,
        *sorted(out.glob("*/*.safetensors")),
        *sorted(out.glob("*/*.json")),
    ]
    return {str(path.relative_to(out)): digest(path) for path in found if path.is_file()}
