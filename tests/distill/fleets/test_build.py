"""The smallest recipe made twice: the same bytes, whatever interrupts it and however many processes work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kdguard.distill.fleets import build as building
from kdguard.distill.fleets.agreement import SIMILARITIES, Shipped, double_difference, ranks
from kdguard.distill.fleets.build import build
from kdguard.distill.fleets.roster import roster
from kdguard.distill.fleets.ship import sha256_of, ship
from kdguard.distill.fleets.workshop import Workshop
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask
from kdguard.distill.transcripts.codec import unpack
from kdguard.errors import TrainingError
from tests.distill.fleets.tiny_recipe import SHIPPED, tiny_recipe

Made = tuple[Workshop, Path, dict[str, Any]]


def _quiet(line: str) -> None:
    assert line


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    room = tmp_path_factory.mktemp("fleets")
    workshop = build(tiny_recipe(), room / "work", say=_quiet)
    return workshop, room, ship(workshop, room / "models", room / "lineage")


class _Killed(BaseException):
    """As if the process had been killed."""


def test_a_build_that_was_cut_off_twice_ends_with_the_same_bytes(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies_at(piece: int) -> None:
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if len(said) == piece:
                raise _Killed

        with pytest.raises(_Killed):
            build(tiny_recipe(), tmp_path / "work", say=say)

    dies_at(3)
    dies_at(2)
    finished = build(tiny_recipe(), tmp_path / "work", workers=2, say=_quiet)
    again = ship(finished, tmp_path / "models", tmp_path / "lineage")
    assert again["files"] == made[2]["files"]
    assert [one["weights_sha256"] for one in again["models"]] == [
        one["weights_sha256"] for one in made[2]["models"]
    ]

    def never(*_: object) -> None:
        raise AssertionError("what is there is not made again")

    monkeypatch.setattr(building, "train_members", never)
    monkeypatch.setattr(building, "read_model", never)
    build(tiny_recipe(), tmp_path / "work", say=_quiet)


def test_the_manifest_names_parents_doses_and_files(made: Made) -> None:
    _, room, manifest = made
    assert json.loads((room / "models" / "manifest.json").read_text()) == manifest
    by_name = {one["name"]: one for one in manifest["models"]}
    assert set(by_name) == {member.name for member in roster(tiny_recipe())}
    assert by_name["aurora-topk-50"]["parents"] == ["base-1", "aurora"]
    assert 0 < by_name["aurora-topk-50"]["dose_seen"] < 1
    assert by_name["aurora-topk-100"]["dose_seen"] == 1.0
    assert by_name["control-001"]["dose_seen"] == 0
    assert by_name["aurora-text-100-merged50"]["parents"][0] == "aurora-text-100"
    assert [one["name"] for one in manifest["models"] if one["folder"]] == list(SHIPPED)
    for place, told in manifest["files"].items():
        assert sha256_of(room / place) == told["sha256"]


def test_readings_hold_every_model_and_prompt(made: Made) -> None:
    workshop, room, _ = made
    shipped = Shipped(room / "lineage")
    assert shipped.models == tuple(member.name for member in roster(workshop.recipe))
    assert shipped.texts("response").shape == shipped.texts("label").shape
    tokens = pq.read_table(room / "lineage" / "tokens.parquet").to_pylist()
    assert len(tokens) == shipped.texts("response").size
    assert all(len(unpack(row)) <= workshop.recipe.probes.tokens for row in tokens)
    kinds = {text["use"] for text in pq.read_table(room / "lineage" / "texts.parquet").to_pylist()}
    assert kinds == {"probe", "served", "withheld"}


def test_a_teacher_agrees_with_itself_most(made: Made) -> None:
    shipped = Shipped(made[1] / "lineage")
    for name in ("same answers", "same labels", "shared words", "first-token KL"):
        found = SIMILARITIES[name](shipped)
        for column, family in enumerate(shipped.families):
            row = found[shipped.models.index(family)]
            assert row[column] == found[:, column].max()
        assert ranks(shipped, double_difference(found)).min() >= 1 / 4


def test_shipped_weights_say_what_the_readings_say(made: Made) -> None:
    _, room, _ = made
    teacher = LocalTeacher.load(room / "models" / "aurora", rows=1)
    probes = pq.read_table(room / "lineage" / "probes.parquet").to_pylist()
    told = {
        row["prompt_id"]: row["response"]
        for row in pq.read_table(room / "lineage" / "responses.parquet").to_pylist()
        if row["model"] == "aurora"
    }
    most = tiny_recipe().probes.max_tokens
    asks = [
        Ask(request_id=str(one["prompt_id"]), prompt=one["prompt"], temperature=0, max_tokens=most)
        for one in probes
    ]
    answers = {int(answer.request_id): answer.response for answer in teacher.answer(asks)}
    assert sum(answers[at] == told[at] for at in told) >= len(told) - 1  # ties may fall either way


def test_a_workshop_belongs_to_one_recipe(made: Made) -> None:
    other = tiny_recipe().model_copy(update={"seed": 4})
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        build(other, made[0].folder, say=_quiet)


def test_an_unfinished_workshop_is_not_shipped(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "work", tiny_recipe())
    workshop.open()
    with pytest.raises(TrainingError, match="are not read yet"):
        ship(workshop, tmp_path / "models", tmp_path / "lineage")
