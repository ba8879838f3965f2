from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.errors import AttackError
from kdguard.simulate.attack.recipe import recipe_from
from kdguard.simulate.attack.run import run_attack
from tests.distill.teachers.scripted_server import Reply, Script, chat, serving

RECIPE = """
name = "over-http"
[teacher]
kind = "endpoint"
url = "{url}"
model = "scripted-1"
concurrency = 1
retries = 0
{more}
[budget]
requests = 24
[ask]
max_tokens = 16
[prompts]
source = "public"
[[tactics]]
tactic = "T1"
strength = 1.0
accounts = 4
[student]
steps = 4
rows = 2
"""


def _says(number: int, asked: dict[str, Any]) -> Reply:
    return 200, chat(f"An answer to {asked['messages'][-1]['content'][:20]}"), {}


def test_an_attack_on_a_served_teacher(tmp_path: Path) -> None:
    """Each account has its own key, and neither key nor address of the machine beyond loopback is kept."""
    (tmp_path / "keys").write_text("sk-one\n\nsk-two\nsk-three\n", encoding="utf-8")
    with serving(Script(_says)) as script:
        more = f'keys_file = "{tmp_path / "keys"}"'
        manifest = run_attack(recipe_from(RECIPE.format(url=script.url, more=more)), tmp_path / "out")
    assert len(script.seen) == manifest["spent"]["requests"] == 24
    log = pq.read_table(tmp_path / "out" / "exchanges.parquet").to_pandas()
    prompts = [asked["messages"][-1]["content"] for asked in script.seen]
    assert sorted(log["prompt"]) == sorted(prompts)
    key_of = dict(zip(prompts, script.keys, strict=True))
    used = log.assign(key=log["prompt"].map(key_of)).groupby("account_id")["key"].nunique()
    assert (used == 1).all()
    assert len(set(script.keys)) == min(3, len(used))
    assert "sk-" not in (tmp_path / "out" / "manifest.json").read_text()
    permission = manifest["permissions"][0]
    assert permission["loopback"] is True
    assert manifest["spent"]["input_tokens"] == 24 * 7
    assert manifest["student"]["parents"] == [{"name": manifest["teachers"][0]["name"], "digest": None}]


def test_a_dead_teacher_is_reported_and_asked_again_by_the_same_command(tmp_path: Path) -> None:
    def down(number: int, asked: dict[str, Any]) -> Reply:
        return 500, {"error": {"message": "out of order", "type": "server_error"}}, {}

    with serving(Script(down)) as script:
        recipe = recipe_from(RECIPE.format(url=script.url, more=""))
        with pytest.raises(AttackError, match="no request got a usable answer: server_error: out of order"):
            run_attack(recipe, tmp_path)
        script.reply = _says
        manifest = run_attack(recipe, tmp_path)
    assert manifest["counts"]["attack_exchanges"] == 24
    assert manifest["spent"]["failed_requests"] == 0


def test_what_failed_for_good_is_in_the_log_and_teaches_nothing(tmp_path: Path) -> None:
    def moody(number: int, asked: dict[str, Any]) -> Reply:
        return (200, b"not json", {}) if number % 4 == 0 else _says(number, asked)

    with serving(Script(moody)) as script:
        manifest = run_attack(recipe_from(RECIPE.format(url=script.url, more="")), tmp_path)
    assert manifest["spent"]["failed_requests"] == 6
    assert manifest["counts"]["attack_exchanges"] == 24
    assert manifest["student"]["documents"]["teacher"] == 18


def test_missing_logprobs_are_told(tmp_path: Path) -> None:
    with serving(Script(_says)) as script:
        recipe = RECIPE.format(url=script.url, more="").replace("[ask]", "[ask]\ntop_logprobs = 2")
        manifest = run_attack(recipe_from(recipe), tmp_path)
    assert manifest["answers_without_logprobs"] == 24


def test_killed_runs_go_on_and_ask_nothing_twice(tmp_path: Path) -> None:
    """kill -9 while the teacher is being asked; at most the exchange in flight is asked again."""
    recipe = tmp_path / "recipe.toml"
    out = tmp_path / "out"
    with serving(Script(_says, delay_s=0.02)) as script:
        recipe.write_text(RECIPE.format(url=script.url, more=""), encoding="utf-8")
        command = [sys.executable, "-m", "kdguard", "simulate", "attack", str(recipe), "--out", str(out)]
        child = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 120
        while len(script.seen) < 7:
            assert child.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "the run asked nothing"
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not (out / "manifest.json").exists()
        kept = set(read_transcripts(out).exchanges["prompt"].to_pylist())
        run = CliRunner().invoke(app, command[3:], env={"KDGUARD_DATA": ""})
    assert run.exit_code == 0, run.output
    prompts = [asked["messages"][-1]["content"] for asked in script.seen]
    twice = [prompt for prompt in set(prompts) if prompts.count(prompt) > 1]
    assert len(twice) <= 1
    assert not kept & set(twice)
    assert pq.read_table(out / "exchanges.parquet").num_rows == 24


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('keys_file = "nowhere.txt"', "teacher.keys_file 'nowhere.txt' cannot be read"),
        ('api_key_variable = "NO_SUCH_KEY"', "'NO_SUCH_KEY' must hold the API key"),
    ],
)
def test_missing_keys_are_named(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        run_attack(recipe_from(RECIPE.format(url="http://127.0.0.1:9/v1", more=more)), tmp_path)
