"""Answers that must not carry a claim, through the command: exit 0, `inconclusive` and why; a student's answers do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from tests.lineage.made import table

Change = Callable[[pd.DataFrame], pd.DataFrame]


def told(folder: Path, frame: pd.DataFrame, *more: str, controls: int = 120) -> tuple[int, dict[str, object]]:
    """Exit status and the verdict on the student, of the family it learnt from."""
    frame.to_csv(folder / "responses.csv", index=False)
    (folder / "families.toml").write_text(
        '[a]\nmembers = ["teacher-a"]\nvendor = "north"\n[b]\nmembers = ["teacher-b"]\nvendor = "south"\n'
    )
    names = [f"control-{at:03d}" for at in range(controls)]
    listed = pd.DataFrame({"teacher_family": "a", "control": names, "kind": "student_pool"})
    listed.to_csv(folder / "controls.csv", index=False)
    command = [
        "lineage",
        "test",
        "--responses",
        f"{folder / 'responses.csv'}",
        "--suspect",
        "student",
        "--json",
    ]
    command += ["--families", f"{folder / 'families.toml'}", "--controls", f"{folder / 'controls.csv'}"]
    done = CliRunner().invoke(app, [*command, *(more or ("--family", "a"))])
    lines = done.stdout.splitlines()
    found: dict[str, object] = json.loads(lines[0]) if lines else {"error": str(done.exception)}
    return done.exit_code, found


def changed(change: Change) -> pd.DataFrame:
    """The table with the student's rows changed."""
    frame = table(prompts=20)
    frame["prompt"] = "What would you say to number " + frame["prompt_id"].astype(str) + "?"
    mine = frame["model"] == "student"
    return pd.concat([frame[~mine], change(frame[mine].copy())], ignore_index=True)


def to(text: Callable[[str], str]) -> Change:
    return lambda mine: mine.assign(response=mine["response"].map(text))


FRENCH = "Le chat numero %d est sur la table et le chien dort sous la chaise pendant que nous mangeons."

BAD: dict[str, tuple[Change, str]] = {
    "empty": (to(lambda text: ""), "0 answers that are not empty"),
    "spaces": (to(lambda text: " \n\t"), "0 answers that are not empty"),
    "cut off": (to(lambda text: text[:120]), "100% of its answers end after exactly 120 characters"),
    "refusals": (
        to(lambda text: f"I'm sorry, but I can't help with {text[:40]}."),
        "100% of its answers are refusals",
    ),
    "one word": (to(lambda text: text.split()[0]), "1 words in the median carry no style"),
    "one answer": (to(lambda text: "word " * 30), "of its answers differ from each other"),
    "prompt repeated": (
        lambda mine: mine.assign(response=mine["prompt"]),
        "of its answers repeat the prompt",
    ),
    "another language": (
        lambda mine: mine.assign(response=[FRENCH % at for at in range(len(mine))]),
        "answers in another language",
    ),
    "few prompts": (lambda mine: mine.head(4), "4 answers that are not empty; a test needs 10"),
}


@pytest.mark.parametrize("name", BAD)
def test_answers_that_carry_nothing_are_inconclusive(tmp_path: Path, name: str) -> None:
    change, reason = BAD[name]
    code, found = told(tmp_path, changed(change))
    assert (code, found["verdict"], found["p_value"]) == (0, "inconclusive", None)
    assert reason in str(found["reason"])


def test_whole_answers_of_the_same_student_are_supported(tmp_path: Path) -> None:
    code, found = told(tmp_path, changed(lambda mine: mine))
    assert (code, found["verdict"]) == (1, "supported")


def test_duplicate_and_missing_prompts_are_counted_once_and_left_out(tmp_path: Path) -> None:
    frame = changed(lambda mine: pd.concat([mine, mine.assign(response="another")]))
    gaps = ~((frame["model"] == "control-003") & (frame["prompt_id"] < 12))
    code, found = told(tmp_path, frame[gaps])
    assert (code, found["verdict"], found["queries"]) == (1, "supported", 10)


def test_a_control_that_is_the_suspect_under_another_name_is_no_control(tmp_path: Path) -> None:
    frame = changed(lambda mine: pd.concat([mine, mine.assign(model="control-000")]))
    frame = frame.drop_duplicates(["model", "prompt_id"], keep="last")
    code, found = told(tmp_path, frame)
    assert (code, found["verdict"], found["controls"]) == (1, "supported", 119)


def test_few_controls_are_inconclusive_and_a_missing_teacher_is_refused(tmp_path: Path) -> None:
    code, found = told(tmp_path, table(prompts=20), "--family", "a", "--alpha", "0.05", controls=18)
    assert (code, found["verdict"]) == (0, "inconclusive")
    assert "18 controls cannot support 1 family at 0.05: 19 are needed" in str(found["reason"])
    frame = table(prompts=20)
    code, found = told(tmp_path, frame[frame["model"] != "teacher-a"])
    assert code != 0
    assert "no family 'a' with answers; families are b" in str(found["error"])


def test_prompts_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    frame = changed(lambda mine: mine.assign(response=mine["prompt"]))
    prompts = frame.drop_duplicates("prompt_id")[["prompt_id", "prompt"]]
    prompts.to_csv(tmp_path / "prompts.csv", index=False)
    code, found = told(
        tmp_path, frame.drop(columns="prompt"), "--family", "a", "--probes", f"{tmp_path / 'prompts.csv'}"
    )
    assert (code, found["verdict"]) == (0, "inconclusive")
    assert "of its answers repeat the prompt" in str(found["reason"])
