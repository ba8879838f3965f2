from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from tests.lineage.made import table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = table(prompts=20)
    frame.to_parquet(tmp_path / "responses.parquet")
    names = sorted(name for name in frame["model"].unique() if name.startswith("control"))
    lines = [
        "teacher_family,control,kind",
        *(f"a,{name},student_pool" for name in names),
        "a,teacher-b,teacher_of_other_vendor",
    ]
    (tmp_path / "controls.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "families.toml").write_text(
        '[a]\nmembers = ["teacher-a"]\nvendor = "north"\nnote = "ignored"\n'
        '[b]\nmembers = ["teacher-b"]\nvendor = "south"\n'
    )
    return tmp_path


def run(folder: Path, *more: str) -> tuple[int, list[dict[str, object]]]:
    command = ["lineage", "test", "--responses", str(folder / "responses.parquet"), "--json"]
    command += [
        "--families",
        str(folder / "families.toml"),
        "--controls",
        str(folder / "controls.csv"),
        *more,
    ]
    result = CliRunner().invoke(app, command)
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return result.exit_code, lines


def test_one_line_a_suspect_and_family_and_exit_1_where_something_is_supported(folder: Path) -> None:
    code, lines = run(folder, "--suspect", "student", "--suspect", "innocent", "--family", "a")
    assert code == 1
    assert [(line["suspect"], line["verdict"]) for line in lines] == [
        ("student", "supported"),
        ("innocent", "not_supported"),
    ]
    assert lines[0]["guarantee"] == "conformal"
    assert (
        lines[0]["controls"] == 120
    )  # with two families the other teacher has no alternative to be compared with


def test_nothing_supported_is_exit_0(folder: Path) -> None:
    assert run(folder, "--suspect", "innocent", "--family", "a")[0] == 0
    code, lines = run(folder, "--suspect", "student", "--no-adjust", "--budget", "10")
    assert code == 1
    assert {line["queries"] for line in lines} == {10}
