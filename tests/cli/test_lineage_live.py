from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from kdguard.cli import app
from kdguard.detectors.fingerprint import default_tests
from kdguard.lineage import Family, place_families, responses_of
from kdguard.lineage.compared import deciding
from tests.lineage.endpoint import probes_frame, prompts_seen, suspect
from tests.lineage.made import answers, families, table

PROMPTS = 20
STUDENT = answers(9001, habits=1, prompts=PROMPTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = table(prompts=PROMPTS)
    frame = frame[~frame["model"].isin(["student", "innocent"])]
    frame.to_parquet(tmp_path / "responses.parquet")
    probes_frame(PROMPTS).to_csv(tmp_path / "probes.csv", index=False)
    names = sorted(name for name in frame["model"].unique() if name.startswith("control"))
    lines = ["teacher_family,control,kind", *(f"a,{name},student_pool" for name in names)]
    (tmp_path / "controls.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "families.toml").write_text('[a]\nmembers = ["teacher-a"]\n[b]\nmembers = ["teacher-b"]\n')
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["lineage", *map(str, words)])


def against(folder: Path) -> list[object]:
    told: list[object] = ["--responses", folder / "responses.parquet", "--families", folder / "families.toml"]
    return [*told, "--controls", folder / "controls.csv", "--probes", folder / "probes.csv", "--family", "a"]


def test_a_live_student_is_found_and_its_answers_are_kept(folder: Path) -> None:
    out = folder / "asked"
    with suspect(lambda number, prompt: STUDENT[prompt]) as script:
        found = run(
            "test", *against(folder), "--suspect-url", script.url, "--suspect", "s", "--out", out, "--json"
        )
        again = run(
            "test", *against(folder), "--suspect-url", script.url, "--suspect", "s", "--out", out, "--json"
        )
    assert found.exit_code == 1, found.output
    (line,) = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert (line["suspect"], line["verdict"], line["queries"]) == ("s", "supported", 10)
    assert again.stdout.splitlines()[-1] == found.stdout.splitlines()[-1]
    assert len(script.seen) == 20
    kept = pd.read_parquet(out / "responses.parquet")
    assert list(kept["model"].unique()) == ["s"]
    assert len(kept) == 10
    assert json.loads((out / "manifest.json").read_text())["about"]["seed"] == 0


def test_a_live_suspect_without_a_name_has_that_of_its_model(folder: Path) -> None:
    with suspect(lambda number, prompt: STUDENT[prompt]) as script:
        found = run(
            *("test", *against(folder), "--suspect-url", script.url, "--suspect-model", "their-model"),
            *("--out", folder / "asked", "--json"),
        )
    told = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert [one["suspect"] for one in told] == ["their-model"]


def test_answers_asked_beforehand_are_tested_as_stored_ones(folder: Path) -> None:
    out = folder / "student"
    with suspect(lambda number, prompt: STUDENT[prompt]) as script:
        asked = run(
            "ask", "--url", script.url, "--model", "s", "--out", out, "--probes", folder / "probes.csv"
        )
        more = run(
            "ask", "--url", script.url, "--model", "s", "--out", out, "--probes", folder / "probes.csv"
        )
    assert asked.exit_code == more.exit_code == 0, asked.output
    assert sorted(prompts_seen(script)) == sorted([*range(PROMPTS)] * 2)
    found = run("test", *against(folder), "--responses", out, "--suspect", "s", "--json")
    (line,) = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert line["verdict"] == "supported"


def test_an_endpoint_that_changes_is_told_by_its_exit_status(folder: Path) -> None:
    other = answers(9002, habits=7, prompts=PROMPTS)
    with suspect(lambda number, prompt: (STUDENT if number < 12 else other)[prompt]) as script:
        asked = run(
            *("ask", "--url", script.url, "--model", "s", "--out", folder / "s", "--concurrency", 1),
            *("--probes", folder / "probes.csv"),
        )
    assert asked.exit_code == 1
    assert "not one model all along" in asked.output


def test_what_is_committed_to_names_the_draw(folder: Path) -> None:
    told = run("probes", "--seed", 5, "--count", 12, "--out", folder / "drawn.jsonl")
    committed = json.loads(told.stdout)
    assert (committed["probe_set"], committed["seed"], committed["queries"]) == ("kdguard", 5, 12)
    rows = [json.loads(line) for line in (folder / "drawn.jsonl").read_text().splitlines()]
    assert len({row["prompt_id"] for row in rows}) == 12


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--suspect-url", "http://127.0.0.1:9/v1"], "give --out DIR"),
        (["--suspect-url", "http://203.0.113.5/v1", "--out", "x"], "is not this machine"),
        (["--suspect-url", "http://127.0.0.1:9/v1", "--out", "x", "--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (
            ["--suspect-url", "http://127.0.0.1:9/v1", "--out", "x", "--suspect", "b", "--suspect", "c"],
            "one suspect",
        ),
        ([], "no suspect"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    told = run("test", *against(folder), *more)
    assert told.exit_code == 1
    assert message in str(told.exception)
    assert not (folder / "x").exists()


def test_a_teacher_without_answers_and_a_prompt_under_two_ids_are_told(folder: Path) -> None:
    frame = pd.read_parquet(folder / "responses.parquet")
    frame["prompt"] = "Question " + (frame["prompt_id"] % 19).astype(str)
    frame.to_parquet(folder / "responses.parquet")
    with (folder / "families.toml").open("a") as file:
        file.write('[c]\nmembers = ["nobody"]\n')
    told = run("test", *against(folder), "--suspect", "control-003")
    assert told.exit_code == 0
    assert "not tested, since no member has answers: c" in told.output
    assert "prompts that stand under a second id: 1; each was counted once" in told.output
    assert "not supported, 1 of 1: not distinguishable" in told.output
    absent = run("test", *against(folder), "--suspect", "control-003", "--family", "c")
    assert "no family 'c' with answers" in str(absent.exception)


def test_a_member_of_the_family_is_not_tested_against_itself(folder: Path) -> None:
    told = run("test", *against(folder), "--suspect", "teacher-a")
    assert told.exit_code == 0
    assert "teacher-a: a member of the only family asked for" in told.output


def test_looks_run_the_deciding_tests_alone() -> None:
    """A family many have learnt from is decided by another test than the others; both stand first of their kind."""
    frame = table(prompts=10, controls=2)
    plain = place_families(families(), responses_of(frame))
    assert [test.name for test in deciding(default_tests(), plain)] == ["fingerprint.similarity"]
    told = (
        Family("a", ("teacher-a",), "north"),
        Family("b", ("teacher-b",), "south", output_lineage=("north",)),
        Family("c", ("control-000",), "east", output_lineage=("north",)),
    )
    imitated = place_families(told, responses_of(frame))
    assert [test.name for test in deciding(default_tests(), imitated)] == [
        "fingerprint.similarity",
        "fingerprint.imitation",
    ]


def test_a_closed_folder_takes_no_further_prompts(folder: Path) -> None:
    command = ("--model", "s", "--out", folder / "s", "--probes", folder / "probes.csv", "--no-again")
    with suspect(lambda number, prompt: STUDENT[prompt]) as script:
        few = run("ask", "--url", script.url, *command, "--count", 12)
        more = run("ask", "--url", script.url, *command)
        other = run("ask", "--url", script.url, *command, "--max-tokens", 9)
    assert few.exit_code == 0
    assert "was closed with 12 of 20 prompts; use another folder" in str(more.exception)
    assert "was begun about" in str(other.exception)
    assert len(script.seen) == 12
