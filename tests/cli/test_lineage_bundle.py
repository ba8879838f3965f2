"""From answers to a signed bundle and back: by a stranger, offline, from the numbers and from the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from kdguard.cli import app
from tests.lineage.endpoint import probes_frame, suspect
from tests.lineage.made import answers, table

PROMPTS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    frame = table(prompts=PROMPTS, controls=105)
    extra = pd.DataFrame(
        {"model": ["teacher-a"], "prompt_id": ["unasked"], "response": ["no probe has this id"]}
    )
    pd.concat([frame.astype({"prompt_id": str}), extra]).to_parquet(place / "responses.parquet")
    probes_frame(PROMPTS).to_csv(place / "probes.csv", index=False)
    names = sorted(name for name in frame["model"].unique() if name.startswith("control"))
    lines = ["teacher_family,control,kind", *(f"a,{name},student_pool" for name in names)]
    (place / "controls.csv").write_text("\n".join(lines) + "\n")
    (place / "families.toml").write_text('[a]\nmembers = ["teacher-a"]\n[b]\nmembers = ["teacher-b"]\n')
    told = run("lineage", "probes", "--probes", place / "probes.csv", "--family", "a", "--alpha", 0.01)
    (place / "committed.json").write_text(told.stdout)
    assert run("audit", "keys", "create", "--keys", place / "keys").exit_code == 0
    commit = ("--scheme", "lineage", "--epoch", "2026-11", "--parameters", place / "committed.json")
    assert run("audit", "commit", *commit, *audit(place)).exit_code == 0
    return place


def run(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def audit(folder: Path) -> tuple[object, ...]:
    return "--ledger", folder / "ledger", "--keys", folder / "keys"


def files(folder: Path) -> tuple[object, ...]:
    told = ("--families", folder / "families.toml", "--controls", folder / "controls.csv")
    return "--responses", folder / "responses.parquet", *told


@pytest.fixture(scope="module")
def live(folder: Path) -> Path:
    """The bundle of a live student, stopped after ten prompts, whose test was committed to."""
    student = answers(9001, habits=1, prompts=PROMPTS)
    committed = ("--committed", folder / "committed.json", "--epoch", "2026-11", "--keys", folder / "keys")
    with suspect(lambda number, prompt: student[prompt]) as script:
        found = run(
            *("lineage", "test", *files(folder), "--probes", folder / "probes.csv", "--family", "a"),
            *("--suspect-url", script.url, "--suspect", "s", "--out", folder / "s", "--json"),
            *("--case", folder / "case.json", *committed),
        )
    assert found.exit_code == 1, found.output
    assert '"supported"' in found.stdout
    signed = run("audit", "sign", folder / "case.json", "--out", folder / "s.kdg", *audit(folder))
    assert signed.exit_code == 0, signed.output
    return folder / "s.kdg"


def test_the_test_is_run_again_from_the_numbers_alone(folder: Path, live: Path) -> None:
    told = run("audit", "verify", live, "--ledger", folder / "ledger", "--json")
    assert told.exit_code == 0, told.output
    verified = json.loads(told.stdout)
    assert verified["test"] == "lineage.text"
    (evidence,) = verified["result"]
    assert evidence["p_value"] == pytest.approx(1 / 106)
    assert evidence["summary"].startswith("a: supported, p = 0.00943 at level 0.01 after 10 prompts")
    assert verified["committed"][0][0] == ""


def test_no_answer_is_in_a_bundle(live: Path) -> None:
    content = live.read_bytes()
    assert b"habit" not in content
    assert b"Question" not in content


def test_the_numbers_are_made_again_from_the_answers(folder: Path, live: Path) -> None:
    told = run("lineage", "verify", live, *files(folder), "--responses", folder / "s")
    assert told.exit_code == 0, told.output
    assert "a: supported" in told.stdout


def test_other_answers_than_were_tested_are_refused(folder: Path, live: Path, tmp_path: Path) -> None:
    changed = pd.read_parquet(folder / "responses.parquet")
    changed.loc[5, "response"] = "something else"
    changed.to_parquet(tmp_path / "responses.parquet")
    command = ("--families", folder / "families.toml", "--controls", folder / "controls.csv")
    told = run("lineage", "verify", live, "--responses", tmp_path / "responses.parquet", *command)
    assert told.exit_code == 1
    assert "is not one of the files" in told.output


def test_a_test_other_than_the_one_committed_to_is_refused(folder: Path, live: Path) -> None:
    told = run(
        *("lineage", "test", *files(folder), "--suspect", "student", "--family", "a", "--seed", 7),
        *("--case", folder / "other.json", "--committed", folder / "committed.json", "--epoch", "2026-11"),
        *("--keys", folder / "keys"),
    )
    assert told.exit_code == 1
    assert "seed was 0, the case has 7" in str(told.exception)
    assert not (folder / "other.json").exists()


def test_a_stored_suspect_needs_no_commitment(folder: Path, tmp_path: Path) -> None:
    """Two families that are both paid for, of which one cannot be supported by so few controls."""
    found = run(
        *(
            "lineage",
            "test",
            *files(folder),
            "--suspect",
            "student",
            "--no-adjust",
            "--case",
            tmp_path / "c.json",
        )
    )
    assert found.exit_code == 1, found.output
    assert run("audit", "sign", tmp_path / "c.json", "--out", tmp_path / "b", *audit(folder)).exit_code == 0
    told = run("lineage", "verify", tmp_path / "b", *files(folder), "--json")
    assert told.exit_code == 0, told.output
    summaries = [one["summary"] for one in json.loads(told.stdout)["result"]]
    assert summaries[0].startswith("a: supported")
    assert len(summaries) == 1 or "0 controls cannot support" in summaries[1]


def test_two_suspects_are_no_case(folder: Path, tmp_path: Path) -> None:
    both = ("--suspect", "student", "--suspect", "innocent", "--family", "a")
    told = run("lineage", "test", *files(folder), *both, "--case", tmp_path / "c.json")
    assert "got 2 suspects" in str(told.exception)
