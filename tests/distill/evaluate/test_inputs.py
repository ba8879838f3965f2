"""Where a student came from, by what lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdguard.distill.evaluate.inputs import origin_of, read_texts
from kdguard.errors import InputError

DOSE = {"teacher_tokens": 9, "teacher_share": 0.5}


def run(folder: Path, manifest: object) -> Path:
    (folder / "student").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_runs_of_training_and_of_attacks_tell_their_dose(tmp_path: Path) -> None:
    trained = run(tmp_path / "a", {"kind": "student", "dose": DOSE, "history": [{"step": 1}]})
    assert origin_of(trained) == origin_of(trained / "student")
    assert origin_of(trained).dose == DOSE
    assert origin_of(trained).history == ({"step": 1},)
    attack = {"kind": "attack", "student": {"dose": DOSE}, "spent": {"requests": 40}}
    stolen = origin_of(run(tmp_path / "b", attack))
    assert stolen.folder == tmp_path / "b" / "student"
    assert stolen.dose == {"queries": 40, "graded_tokens": 0} | DOSE


def test_a_plain_folder_tells_nothing(tmp_path: Path) -> None:
    run(tmp_path / "a", {"kind": "student", "dose": DOSE, "history": []})
    (tmp_path / "a" / "control").mkdir()
    assert origin_of(tmp_path / "a" / "control").dose is None  # the manifest is the student's
    assert origin_of(run(tmp_path / "c", {"kind": "attack", "student": None, "spent": {}})).dose is None


@pytest.mark.parametrize("manifest", [[], {"kind": "student"}, {"kind": "attack", "student": {}}])
def test_a_damaged_manifest_is_named(manifest: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: is damaged"):
        origin_of(run(tmp_path / "a", manifest))


def test_texts_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ä")
    assert read_texts([tmp_path / "a.txt"]) == ("ä",)
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"b\.bin: cannot be read as UTF-8"):
        read_texts([tmp_path / "b.bin"])
