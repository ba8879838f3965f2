"""`kdguard lineage logprobs`, `served`, `weights`: what they print, and what they say to tables that do not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from kdguard.audit.case import case_from_json
from kdguard.audit.case import run as run_case
from kdguard.cli import app
from tests.detectors.fingerprint.test_served import scene
from tests.detectors.fingerprint.test_served_wording import answered

MODELS = Path(__file__).parents[2] / "fixtures" / "models"
Change = Callable[[pd.DataFrame], pd.DataFrame]


def run(*arguments: object) -> tuple[int, list[dict[str, object]], str]:
    done = CliRunner().invoke(app, ["lineage", *map(str, arguments)])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.exit_code, lines, done.stderr + str(done.exception or "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two teachers with 40 answers each; a student of the first likes those, an innocent nobody's."""
    rng = np.random.default_rng(0)
    texts = [(f"{family}{at}", family, at, 10) for family in "ab" for at in range(40)]
    names = ("text_id", "family", "prompt_id", "tokens")
    pd.DataFrame(texts, columns=names).to_csv(tmp_path / "texts.csv", index=False)
    models = ["teacher-a", "teacher-b", "student", "innocent", *(f"control-{at:03d}" for at in range(110))]
    kin = {"teacher-a": ("a", 9.0), "teacher-b": ("b", 9.0), "student": ("a", 4.0)}
    rows = []
    for model in models:
        liked, by = kin.get(model, ("", 0.0))
        skill = rng.normal()
        for text, family, _, _ in texts:
            found = -20 + skill + rng.normal() + (by if family == liked else 0)
            rows.append((model, text, min(found, -0.1)))
    pd.DataFrame(rows, columns=["model", "text_id", "logprob"]).to_csv(tmp_path / "read.csv", index=False)
    (tmp_path / "families.toml").write_text(
        '[a]\nmembers = ["teacher-a"]\nvendor = "north"\n[b]\nmembers = ["teacher-b"]\nvendor = "south"\n'
    )
    write_controls(tmp_path, 110)
    return tmp_path


def write_controls(folder: Path, count: int) -> None:
    listed = [(family, f"control-{at:03d}", "student_pool") for family in "ab" for at in range(count)]
    listed += [("a", "teacher-b", "teacher_of_other_vendor"), ("b", "teacher-a", "teacher_of_other_vendor")]
    frame = pd.DataFrame(listed, columns=["teacher_family", "control", "kind"])
    frame.to_csv(folder / "controls.csv", index=False)


def logprobs(folder: Path, *more: object) -> tuple[int, list[dict[str, object]], str]:
    files = {
        "texts": "texts.csv",
        "likelihoods": "read.csv",
        "families": "families.toml",
        "controls": "controls.csv",
    }
    given = [part for name, file in files.items() for part in (f"--{name}", folder / file)]
    return run("logprobs", *given, "--json", *more)


def change(folder: Path, file: str, by: Change) -> None:
    by(pd.read_csv(folder / file)).to_csv(folder / file, index=False)


def test_likelihoods_find_a_student_and_no_innocent(folder: Path) -> None:
    code, found, _ = logprobs(folder, "--suspect", "student", "--suspect", "innocent", "--family", "a")
    assert code == 1
    assert [one["verdict"] for one in found] == ["supported", "not_supported"]
    assert [one["guarantee"] for one in found] == ["conformal"] * 2
    assert [one["queries"] for one in found] == [80] * 2
    assert logprobs(folder, "--suspect", "innocent")[0] == 0


def test_a_case_of_likelihoods_says_the_same_again(folder: Path) -> None:
    case = folder / "case.json"
    _, found, _ = logprobs(folder, "--suspect", "student", "--family", "a", "--case", case)
    told = run_case(case_from_json(json.loads(case.read_text())), {})
    assert [one["detector"] for one in told] == ["logprobs.likelihood", "lineage.kinship"]
    assert told[0]["p_value"] == found[0]["p_value"]


def test_a_control_that_is_the_suspect_is_left_out(folder: Path) -> None:
    def twin(frame: pd.DataFrame) -> pd.DataFrame:
        mine = frame[frame["model"] == "student"].assign(model="control-000")
        return pd.concat([frame[frame["model"] != "control-000"], mine])

    before = logprobs(folder, "--suspect", "student", "--family", "a")[1][0]
    change(folder, "read.csv", twin)
    after = logprobs(folder, "--suspect", "student", "--family", "a")[1][0]
    assert after["verdict"] == "supported"
    assert (before["controls"], after["controls"]) == (111, 110)


def test_texts_that_some_models_have_not_read_are_left_out(folder: Path) -> None:
    change(
        folder, "read.csv", lambda frame: frame[(frame["model"] != "student") | (frame["text_id"] != "a3")]
    )
    gaps = ["control-001", "control-002"]
    change(
        folder,
        "read.csv",
        lambda frame: frame[~frame["model"].isin(gaps) | frame["text_id"].str.endswith("1")],
    )
    code, found, _ = logprobs(folder, "--suspect", "student", "--family", "a")
    assert (code, found[0]["controls"], found[0]["queries"]) == (1, 109, 78)


def test_texts_that_stand_twice_are_read_once(folder: Path) -> None:
    before = logprobs(folder, "--suspect", "student", "--family", "a")[1]
    change(folder, "texts.csv", lambda frame: pd.concat([frame, frame]))
    change(folder, "read.csv", lambda frame: pd.concat([frame, frame]))
    assert logprobs(folder, "--suspect", "student", "--family", "a")[1] == before


def test_too_little_is_inconclusive(folder: Path) -> None:
    code, found, _ = logprobs(folder, "--suspect", "student", "--family", "a", "--budget", 30)
    assert (code, found[0]["verdict"]) == (0, "inconclusive")
    assert "15 items read from suspect, teacher and controls alike; a test needs 20" in str(
        found[0]["reason"]
    )
    write_controls(folder, 18)
    code, found, _ = logprobs(
        folder, "--suspect", "student", "--family", "a", "--control-kind", "student_pool"
    )
    assert (code, found[0]["verdict"]) == (0, "inconclusive")
    assert "18 controls cannot support 1 family" in str(found[0]["reason"])


@pytest.mark.parametrize(
    ("file", "by", "reason"),
    [
        ("read.csv", lambda frame: frame.drop(columns="logprob"), "missing logprob"),
        ("read.csv", lambda frame: frame.assign(logprob=0.5), "are they probabilities?"),
        ("read.csv", lambda frame: frame[frame["model"] != "student"], "nothing was read of 'student'"),
        (
            "read.csv",
            lambda frame: frame[~frame["model"].str.startswith("teacher")],
            "no member of any family has answers",
        ),
        ("texts.csv", lambda frame: frame[frame["family"] != "a"], "no text of family 'a'"),
        ("texts.csv", lambda frame: frame.head(0), "no text of family 'a'"),
        ("controls.csv", lambda frame: frame.assign(kind="friend"), "the file has friend"),
    ],
)
def test_tables_that_do_not_do_are_refused(folder: Path, file: str, by: Change, reason: str) -> None:
    change(folder, file, by)
    code, found, why = logprobs(folder, "--suspect", "student", "--family", "a")
    assert (code == 0, found) == (False, [])
    assert reason in why


def test_one_kind_of_reading_a_call(folder: Path) -> None:
    _, _, why = logprobs(folder, "--suspect", "student", "--labels", folder / "texts.csv")
    assert "one kind of reading" in why
    _, _, why = logprobs(folder, "--suspect", "student", "--case", folder / "case.json")
    assert "a case is about one suspect and one --family" in why


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Answers served to four accounts, and a suspect that learnt from the first."""
    texts, readings = scene(0.6, 1)
    texts.to_csv(tmp_path / "texts.csv", index=False)
    readings.to_csv(tmp_path / "read.csv", index=False)
    return tmp_path


def served(folder: Path, *more: object) -> tuple[int, list[dict[str, object]], str]:
    files = ("--texts", folder / "texts.csv", "--likelihoods", folder / "read.csv")
    clean = ("--clean", "clean-1", "--clean", "clean-2")
    return run("served", *files, *clean, "--suspect", "suspect", "--deals", 4999, "--json", *more)


def test_the_account_whose_answers_were_learnt_is_named(log: Path) -> None:
    code, found, _ = served(log)
    assert code == 1
    assert [one["verdict"] for one in found if one["account"] == "a0"] == ["supported"]
    assert {one["verdict"] for one in found if one["account"] != "a0"} == {"not_supported"}
    change(log, "read.csv", lambda frame: frame[frame["model"] != "suspect"].replace("clean-1", "suspect"))
    code, found, _ = run(
        "served",
        "--texts",
        log / "texts.csv",
        "--likelihoods",
        log / "read.csv",
        "--suspect",
        "suspect",
        "--json",
    )
    assert (code, {one["verdict"] for one in found}) == (0, {"not_supported"})


def test_accounts_named_together_are_one_question(log: Path) -> None:
    code, found, _ = served(log, "--account", "a0", "--account", "a3")
    assert (code, [one["account"] for one in found]) == (1, ["a0+a3"])
    assert served(log, "--account", "a1", "--account", "a3")[0] == 0
    assert "no text was served to account 'a9'" in served(log, "--account", "a9")[2]


def test_a_suspect_of_whom_only_answers_are_known(tmp_path: Path) -> None:
    texts, answers = answered(0.3, 1)
    texts.to_csv(tmp_path / "texts.csv", index=False)
    answers.to_csv(tmp_path / "answers.csv", index=False)
    files = ("served", "--texts", tmp_path / "texts.csv", "--suspect", "suspect")
    code, found, _ = run(*files, "--answers", tmp_path / "answers.csv", "--clean", "clean-1", "--json")
    assert (code, found[0]["account"], found[0]["verdict"]) == (1, "a0", "supported")
    assert "one kind of reading" in run(*files)[2]


def test_served_answers_that_do_not_do(log: Path) -> None:
    assert "no readings of model 'clean-3'" in served(log, "--clean", "clean-3")[2]
    change(log, "texts.csv", lambda frame: frame[frame["account"].ne("a0") | (frame["text_id"] < 5)])
    code, found, _ = served(log)
    assert code == 0
    few = next(one for one in found if one["account"] == "a0")
    assert (few["verdict"], few["p_value"]) == ("inconclusive", None)
    assert "5 texts of the account" in str(few["reason"])
    change(log, "texts.csv", lambda frame: frame.drop(columns="account"))
    assert "missing account" in served(log)[2]


def test_weights_that_do_not_do(tmp_path: Path) -> None:
    code, _, why = run("weights", tmp_path, MODELS / "aurora")
    assert code != 0
    assert "safetensors" in why
    code, found, _ = run("weights", MODELS / "aurora", MODELS / "basalt", "--reorderings", 19, "--json")
    assert (code, found[0]["verdict"]) == (0, "inconclusive")
