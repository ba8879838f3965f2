from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.distill.models import load_model, load_tokenizer
from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.errors import AttackError
from kdguard.exchanges.schema import EXCHANGES
from kdguard.simulate.attack.learn import learn
from kdguard.simulate.attack.recipe import recipe_from
from kdguard.simulate.attack.run import Surroundings, run_attack
from kdguard.simulate.attack.stage import make_plan, make_stage, make_tactics
from kdguard.simulate.attack.tables import EndpointTeacherTable
from kdguard.simulate.attack.teachers import Built, Routed, build_teacher, weights_digest
from kdguard.simulate.write import digest
from tests.simulate.attack.tiny_recipes import TEXT, changed

BACKGROUND = "\n[background]\nowners = 6\nvolume_median = 5.0\nvolume_cap = 30\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("attack") / "out"
    return out, run_attack(recipe_from(TEXT + BACKGROUND), out)


def _table(out: Path, name: str) -> Any:
    return pq.read_table(out / name).to_pandas()


def test_the_folder_is_what_was_promised(run: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = run
    names = {path.name for path in out.iterdir()}
    assert {"exchanges.parquet", "tokens.parquet", "log.jsonl", "accounts.csv", "manifest.json"} <= names
    assert {"labels_accounts.parquet", "labels_requests.parquet", "student", "teacher"} <= names
    assert "checkpoints" not in names
    assert pq.read_schema(out / "exchanges.parquet").equals(EXCHANGES)
    assert manifest == json.loads((out / "manifest.json").read_text())


def test_labels_cover_the_log_and_tell_the_truth(run: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = run
    log, requests = _table(out, "exchanges.parquet"), _table(out, "labels_requests.parquet")
    accounts = _table(out, "labels_accounts.parquet")
    assert set(log["request_id"]) == set(requests["request_id"])
    assert set(log["account_id"]) <= set(accounts["account_id"])
    assert requests["is_attack"].sum() == 30  # a quarter of 40 is cover traffic
    senders = set(log.merge(requests, on="request_id").query("is_attack")["account_id"])
    assert senders <= set(accounts.query("is_attack")["account_id"])
    assert (~accounts["is_attack"]).sum() >= 6  # the background's owners, some with several accounts
    cover = requests[requests["tactics"].fillna("").str.split(",").map(lambda names: "T3" in names)]
    assert len(cover) == 10
    assert not cover["is_attack"].any()
    attackers = accounts[accounts["is_attack"]]
    assert set(attackers["tactics"]) == {"T1=1,T3=0.25,T12=0.5"}
    assert attackers["campaign_id"].nunique() == 1
    assert manifest["tactic_requests"]["T3"] == 10


def test_no_column_alone_tells_attack_from_benign(run: tuple[Path, dict[str, Any]]) -> None:
    out, _ = run
    log = _table(out, "exchanges.parquet").merge(_table(out, "labels_requests.parquet"), on="request_id")
    for column in ("origin", "source_format", "model", "endpoint"):
        assert set(log[log["is_attack"]][column]) <= set(log[~log["is_attack"]][column])
    for column in ("messages", "truncated", "content_missing"):
        assert log[column].isna().all()
    for column in ("refused", "latency_ms"):
        assert log[column].notna().all()


def test_the_manifest_ties_everything(run: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = run
    for name, known in manifest["files"].items():
        assert digest(out / name) == known
    student, teacher = manifest["student"], manifest["teachers"][0]
    assert weights_digest(load_model(out / "student")) == student["digest"]
    assert weights_digest(load_model(out / "teacher")) == teacher["digest"]
    assert student["parents"] == [{"name": "toy-aurora-0", "digest": teacher["digest"]}]
    assert manifest["permissions"] == ["on this machine"]
    assert manifest["recipe_digest"] == recipe_from(TEXT + BACKGROUND).digest
    assert manifest["recipe"]["seed"] == manifest["seed"] == 3
    assert len(load_tokenizer(out / "student")) == len(load_tokenizer(out / "teacher"))


def test_the_dose_counts_what_the_student_saw(run: tuple[Path, dict[str, Any]]) -> None:
    _, manifest = run
    dose = manifest["student"]["dose"]
    assert set(dose["seen_tokens"]) == {"toy-aurora-0", "corpus"}
    assert dose["teacher_tokens"] == dose["seen_tokens"]["toy-aurora-0"]
    assert dose["teacher_share"] == pytest.approx(dose["teacher_tokens"] / sum(dose["seen_tokens"].values()))
    assert 0.2 < dose["teacher_share"] < 1
    assert manifest["student"]["documents"]["corpus"] == 6


def test_the_log_is_a_transcript_with_its_tokens(run: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = run
    told = read_transcripts(out)
    attack = _table(out, "labels_requests.parquet").query("is_attack")["request_id"]
    traced = [request for request in attack if told.tokens.get(request) is not None]
    assert len(traced) >= 28
    trace = told.tokens.get(traced[0])
    assert trace is not None
    assert trace.alternatives == 5
    assert manifest["spent"]["requests"] == 40
    assert manifest["spent"]["output_tokens"] <= 30 * 12 + 10 * 128  # cover traffic sends no limit of its own


def test_the_log_scores(run: tuple[Path, dict[str, Any]]) -> None:
    out, _ = run
    command = ["score", str(out / "log.jsonl"), "--accounts", str(out / "accounts.csv"), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1), result.output
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    scored = {line["subject"]["id"] for line in lines if line.get("subject", {}).get("kind") == "account"}
    truth = _table(out, "labels_accounts.parquet").query("is_attack")["account_id"]
    assert set(truth) <= scored


def test_a_complete_folder_is_left_alone_and_another_recipe_refused(run: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = run
    before = (out / "log.jsonl").stat().st_mtime_ns
    assert run_attack(recipe_from(TEXT + BACKGROUND), out) == manifest
    assert (out / "log.jsonl").stat().st_mtime_ns == before
    with pytest.raises(AttackError, match="another recipe"):
        run_attack(recipe_from(TEXT), out)


def test_interrupted_runs_go_on_and_end_with_the_same_bytes(
    run: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher dies after 15 answers; the second run asks the other 25 and nobody sees a difference.

    Asked one at a time, since the last digit of a log-probability depends on what is computed beside it.
    """
    batched, _ = run
    asked: list[str] = []
    deaths = iter([15, 100, 100])

    class Mortal:
        def __init__(self, inner: Any, left: int) -> None:
            self.inner, self.left, self.name = inner, left, inner.name

        def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
            for one in asks:
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
                asked.append(one.request_id)
                yield from self.inner.answer([one])

    def built(*args: Any, **more: Any) -> Built:
        found = build_teacher(*args, **more)
        return Built(Mortal(found.teacher, next(deaths)), found.about, found.tokenizer)

    monkeypatch.setattr("kdguard.simulate.attack.language_run.build_teacher", built)
    recipe = recipe_from(TEXT + BACKGROUND)
    with pytest.raises(KeyboardInterrupt):
        run_attack(recipe, tmp_path / "out")
    assert len(asked) == 15
    again = run_attack(recipe, tmp_path / "out")
    assert len(asked) == len(set(asked)) == 40
    whole = run_attack(recipe, tmp_path / "whole")
    assert again["student"]["digest"] == whole["student"]["digest"]
    assert again["files"]["log.jsonl"] == whole["files"]["log.jsonl"]
    for name in ("log.jsonl", "accounts.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (batched / name).read_bytes()
    assert again["files"]["exchanges.parquet"] == whole["files"]["exchanges.parquet"]


@pytest.mark.parametrize("step", ["write_log", "write_manifest"])
def test_a_run_that_dies_at_the_end_ends_with_the_same_bytes(
    run: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """By then the folder may hold a log with benign rows, from which nothing may be learnt."""
    _, whole = run
    recipe = recipe_from(TEXT + BACKGROUND)
    with monkeypatch.context() as patch:
        patch.setattr(f"kdguard.simulate.attack.finish.{step}", _dies)
        with pytest.raises(KeyboardInterrupt):
            run_attack(recipe, tmp_path)
    again = run_attack(recipe, tmp_path)
    assert again["student"] == whole["student"]
    assert again["files"] == whole["files"]


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_limit_on_money_stops_the_asking(tmp_path: Path) -> None:
    text = changed(TEXT, requests="requests = 40\nmoney = 3e-4\noutput_price_per_million = 1.0")
    manifest = run_attack(recipe_from(changed(text, own_examples="own_examples = 0")), tmp_path)
    assert manifest["stopped_by"] == "money"
    assert 0 < manifest["spent"]["money"] <= 3e-4
    assert manifest["counts"]["exchanges"] < 40


@pytest.mark.parametrize(
    ("selection", "rounds"), [("self_instruct", 5), ("hard_samples", 3)], ids=["self-instruct", "lion"]
)
def test_tasks_that_the_teacher_wrote_are_asked_in_the_next_round(
    selection: str, rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher here is one that has something to say: a new task for each meta-prompt."""

    class Author:
        name = "author"

        def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
            for one in asks:
                asked = one.prompt.startswith("Come up with one more task")
                names = f"{one.request_id[:5]} {one.request_id[5:9]} {one.request_id[9:13]}"
                text = f"{names} invented.\nMore." if asked else f"Yes, {one.prompt[:30]}"
                yield Answer(request_id=one.request_id, choice=0, model="author", response=text)

    def built(*args: Any, **more: Any) -> Built:
        return Built(Author(), {"name": "author"}, build_teacher(*args, **more).tokenizer)

    monkeypatch.setattr("kdguard.simulate.attack.language_run.build_teacher", built)
    text = changed(TEXT, objective='objective = "cross_entropy"').replace("strength = 0.25", "strength = 0.0")
    more = f'\n[prompts]\nselection = "{selection}"\nwriter = "teacher"\nrounds = {rounds}\n'
    run_attack(recipe_from(text + more), tmp_path)
    prompts = _table(tmp_path, "exchanges.parquet").sort_values(["time", "request_id"])["prompt"].tolist()
    parts = [part.tolist() for part in np.array_split(prompts, rounds)]
    assert all(one.startswith("Come up with one more task") for part in parts[1::2] for one in part)
    assert all(one.endswith("invented.") for part in parts[2::2] for one in part)
    assert not any("Come up" in one or "invented" in one for one in parts[0])
    if selection == "self_instruct":
        shown = [one for one in parts[3] if any(task in one for task in parts[2])]
        assert shown, "tasks of one round are examples of the next"


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        ('objective = "gad"\noptions = { group = 2, max_tokens = 8 }\nsoft = 0.5', "gad"),
        ('objective = "topk_renormalised_kl"', "topk_renormalised_kl"),
        ('objective = "ranking_listwise"', "ranking_listwise"),
        ('objective = "uld_topk"', "uld_topk"),
        ('objective = "cross_entropy"\nroute = "step_by_step"', "topk_tail_kl"),
    ],
)
def test_every_black_box_objective_can_be_chosen(
    run: tuple[Path, dict[str, Any]], tmp_path: Path, lines: str, part: str
) -> None:
    out, _ = run
    recipe = recipe_from(changed(TEXT, objective=lines))
    assert recipe.student is not None
    setting = make_stage(recipe)
    plan = make_plan(recipe, setting, make_tactics(recipe, setting))
    tokenizer = load_tokenizer(out / "teacher")
    learnt = learn(
        read_transcripts(out), plan, recipe.student, teacher_tokenizer=tokenizer, folder=tmp_path / "c"
    )
    assert learnt.record["objective"]["objective"] == part
    assert np.isfinite(learnt.record["loss"])
    assert learnt.record["dose"]["teacher_tokens"] > 0
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("selection", ["entropy", "disagreement", "hard_samples"])
def test_prompts_chosen_by_students(selection: str, tmp_path: Path) -> None:
    text = changed(TEXT, strength="strength = 0.5", objective='objective = "cross_entropy"')
    recipe = recipe_from(text + f'\n[prompts]\nselection = "{selection}"\nrounds = 2\ncandidates = 2\n')
    said: list[str] = []
    run_attack(recipe, tmp_path, Surroundings(say=lambda stage, done, total: said.append(stage)))
    log = _table(tmp_path, "exchanges.parquet")
    assert not log["prompt"].str.contains("⟦").any()
    assert {"teacher", "asking", "student"} <= set(said)
    attack = set(_table(tmp_path, "labels_requests.parquet").query("is_attack")["request_id"])
    prompts = log[log["request_id"].isin(attack)].sort_values("time")["prompt"].tolist()
    if selection == "hard_samples":
        first = prompts[: len(prompts) // 2]
        assert any(old in new for new in prompts[-5:] for old in first)


def test_two_teachers_share_the_requests(tmp_path: Path) -> None:
    second = (
        '\n[second_teacher]\nkind = "toy"\nworld = "basalt"\nexamples = 40\nsteps = 4\nvocabulary = 384\n'
    )
    text = changed(TEXT, objective='objective = "cross_entropy"')
    recipe = recipe_from(text.replace("strength = 0.5", "strength = 1.0\nmixed = 0.5") + second)
    manifest = run_attack(recipe, tmp_path)
    names = [teacher["name"] for teacher in manifest["teachers"]]
    assert names == ["toy-aurora-0", "toy-basalt-0"]
    assert set(_table(tmp_path, "exchanges.parquet")["model"]) == set(names)
    assert set(manifest["student"]["dose"]["seen_tokens"]) == {*names, "corpus"}


def test_routing_sends_each_request_to_its_teacher() -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
            for one in asks:
                yield Answer(request_id=one.request_id, choice=0, model=self.name, response="x")

    routed = Routed(Named("a"), Named("b"), frozenset({"2"}))
    found = {
        one.request_id: one.model for one in routed.answer([Ask(request_id=i, prompt="p") for i in "123"])
    }
    assert found == {"1": "a", "2": "b", "3": "a"}


def test_declarations_are_kept_for_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    table = EndpointTeacherTable(
        kind="endpoint",
        url="https://api.example.com/v1",
        model="m",
        owned="our own server",
        api_key_variable="A_KEY",
    )
    with pytest.raises(AttackError, match="'A_KEY' must hold the API key"):
        build_teacher(table, seed=0)
    monkeypatch.setenv("A_KEY", "secret")
    about = build_teacher(table, seed=0).about
    assert about["permission"]["owned"] == "our own server"
    assert about["permission"]["loopback"] is False
    assert "secret" not in json.dumps(about)


def test_a_replay_of_the_attack_answers_as_the_teacher_did(
    run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = run
    text = changed(
        TEXT, kind=f'kind = "replay"\npath = "{out}"', examples="", steps="", vocabulary="", tasks=""
    )
    recipe = recipe_from(text.split("[student]")[0] + '[prompts]\ntasks = ["intents"]')
    manifest = run_attack(recipe, tmp_path)
    assert manifest["student"] is None
    first, second = _table(out, "exchanges.parquet"), _table(tmp_path, "exchanges.parquet")
    known = dict(zip(first["prompt"], first["response"], strict=True))
    answered = second[second["status"] == 200]
    assert len(answered) > 20
    assert np.mean([known.get(row.prompt) == row.response for row in answered.itertuples()]) > 0.8


def test_the_command(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(changed(TEXT, requests="requests = 20"), encoding="utf-8")
    runner = CliRunner()
    command = ["simulate", "attack", str(recipe), "--out", str(tmp_path / "out")]
    result = runner.invoke(app, command, env={"KDGUARD_DATA": ""})
    assert result.exit_code == 0, result.output
    assert "attack requests from" in result.output
    recipe.write_text(TEXT + "\nsurprise = 1", encoding="utf-8")
    result = runner.invoke(app, command, env={"KDGUARD_DATA": ""})
    assert result.exit_code == 2
    assert "unknown key" in result.output
    assert runner.invoke(app, [*command, "--split", "all"], env={"KDGUARD_DATA": ""}).exit_code == 2
