"""The fixtures that ship: whole, small, loadable, and as their manifest says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from kdguard.distill.fleets.agreement import Shipped, double_difference, ranks, shared_words
from kdguard.distill.fleets.recipe import load_recipe
from kdguard.distill.fleets.roster import roster
from kdguard.distill.fleets.ship import controls, sha256_of
from kdguard.distill.models import check_folder, digest_folder
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask
from kdguard.distill.transcripts.codec import unpack

FIXTURES = Path(__file__).parents[3] / "fixtures"
MODELS, LINEAGE = FIXTURES / "models", FIXTURES / "lineage"
MOST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    told: dict[str, Any] = json.loads((MODELS / "manifest.json").read_text())
    return told


def test_the_files_are_those_of_the_manifest(manifest: dict[str, Any]) -> None:
    assert manifest["schema_version"] == 1
    for place, told in manifest["files"].items():
        assert sha256_of(FIXTURES / place) == told["sha256"], place
    present = {
        file.relative_to(FIXTURES).as_posix()
        for folder in (MODELS, LINEAGE)
        for file in folder.rglob("*")
        if file.is_file() and file.name not in ("manifest.json", "README.md")
    }
    assert present == set(manifest["files"])


def test_all_of_it_is_small() -> None:
    files = [file for folder in (MODELS, LINEAGE) for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


def test_the_manifest_is_of_the_recipe_beside_it(manifest: dict[str, Any]) -> None:
    recipe = load_recipe(MODELS / "recipe.toml")
    assert manifest["recipe_digest"] == recipe.digest
    told = {one["name"]: one for one in manifest["models"]}
    for member in roster(recipe):
        one = told[member.name]
        assert one["parents"] == list(dict.fromkeys(member.needs))
        assert one["families"] == list(member.families)
        if member.role == "student" and member.dose < 1:
            assert abs(one["dose_seen"] - member.dose) < 0.05, member.name


def test_weights_ship_for_about_a_dozen_and_load(manifest: dict[str, Any]) -> None:
    shipped = [one for one in manifest["models"] if one["folder"]]
    assert len(shipped) >= 12
    for one in shipped:
        check_folder(MODELS / one["folder"])
        assert digest_folder(MODELS / one["folder"]) == one["folder_digest"]


@pytest.mark.parametrize("name", ["basalt", "aurora-text-100-int8"])
def test_shipped_weights_give_the_shipped_answers(manifest: dict[str, Any], name: str) -> None:
    probes = pq.read_table(LINEAGE / "probes.parquet").to_pylist()[::8]
    table = pq.read_table(LINEAGE / "responses.parquet", filters=[("model", "==", name)]).to_pylist()
    told = {row["prompt_id"]: row["response"] for row in table}
    recipe = manifest["recipe"]
    teacher = LocalTeacher.load(MODELS / name, context=recipe["context"])
    most = recipe["probes"]["max_tokens"]
    asks = [
        Ask(request_id=str(one["prompt_id"]), prompt=one["prompt"], temperature=0, max_tokens=most)
        for one in probes
    ]
    same = [answer.response == told[int(answer.request_id)] for answer in teacher.answer(asks)]
    assert sum(same) >= 0.9 * len(same)  # rounding on another machine may turn a near tie


def test_every_model_answered_every_probe(manifest: dict[str, Any]) -> None:
    prompts = pq.read_table(LINEAGE / "probes.parquet", columns=["prompt_id"]).num_rows
    assert prompts >= 190
    names = {one["name"] for one in manifest["models"]}
    for file in ("responses", "labels"):
        table = pq.read_table(LINEAGE / f"{file}.parquet")
        assert table.num_rows == prompts * len(names)
        assert set(pc.unique(table["model"]).to_pylist()) == names
    packed = pq.read_table(LINEAGE / "tokens.parquet")
    assert packed.num_rows == prompts * len(names)
    for row in packed.slice(0, 50).to_pylist():
        trace = unpack(row)
        assert trace.alternatives in (0, 20)


def test_each_family_has_120_controls_of_no_teacher(manifest: dict[str, Any]) -> None:
    rows = pacsv.read_csv(LINEAGE / "controls.csv").to_pylist()
    recipe = load_recipe(MODELS / "recipe.toml")
    assert [tuple(row.values()) for row in rows] == list(controls(roster(recipe), recipe.origins.teachers))
    linked = {one["name"]: one["families"] for one in manifest["models"]}
    for family in recipe.origins.teachers:
        pool = [
            row["control"]
            for row in rows
            if row["teacher_family"] == family and row["kind"] == "student_pool"
        ]
        assert len(pool) >= 120
        assert not any(linked[name] for name in pool)


def test_full_dose_students_share_more_words_with_their_teacher_than_every_control(
    manifest: dict[str, Any],
) -> None:
    shipped = Shipped(LINEAGE)
    found = ranks(shipped, double_difference(shared_words(shipped)))
    floor = 1 / (1 + len(shipped.controls[shipped.families[0]]))
    students = [one for one in manifest["models"] if one["role"] == "student" and one["dose"] == 1]
    own = {
        one["name"]: found[shipped.models.index(one["name"]), shipped.families.index(one["families"][0])]
        for one in students
        if len(one["families"]) == 1
    }
    assert len(own) == 24
    assert all(p == floor for p in own.values()), own
