"""The whole way on shipped models: a student is served, asked, tested, reported, signed and verified."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kdguard.cli import app

SHIPPED = Path(__file__).parents[2] / "fixtures"
STORED = SHIPPED / "lineage"


@pytest.fixture
def address() -> Iterator[str]:
    """A student behind `kdguard teacher serve`, as its own process."""
    command = [
        sys.executable,
        "-m",
        "kdguard",
        "teacher",
        "serve",
        str(SHIPPED / "models" / "aurora-text-100"),
    ]
    with subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "http://" in line)
        yield told.split(" on ")[1].strip()
        process.terminate()


def run(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.mark.slow
def test_a_served_student_is_found_and_a_stranger_can_check_it(address: str, tmp_path: Path) -> None:
    probes = ("--probes", STORED / "probes.parquet")
    told: tuple[object, ...] = ("--responses", STORED / "responses.parquet")
    told += ("--families", STORED / "families.toml", "--controls", STORED / "controls.csv")
    ledger = ("--ledger", tmp_path / "ledger", "--keys", tmp_path / "keys")
    draw = run("lineage", "probes", *probes, "--family", "aurora", "--alpha", 0.01)
    (tmp_path / "committed.json").write_text(draw.stdout)
    assert run("audit", "keys", "create", "--keys", tmp_path / "keys").exit_code == 0
    epoch = ("--epoch", "2026-11")
    commit = ("--scheme", "lineage", *epoch, "--parameters", tmp_path / "committed.json")
    assert run("audit", "commit", *commit, *ledger).exit_code == 0
    found = run(
        *("lineage", "test", *told, *probes, "--family", "aurora", "--control-kind", "student_pool"),
        *("--suspect-url", address, "--suspect-model", "aurora-text-100", "--suspect", "live"),
        *("--temperature", 0, "--max-tokens", 72, "--out", tmp_path / "live", "--json"),
        *("--report", tmp_path / "page.html", "--case", tmp_path / "case.json"),
        *("--committed", tmp_path / "committed.json", *epoch, "--keys", tmp_path / "keys"),
    )
    assert found.exit_code == 1, found.output
    verdict = json.loads(found.stdout.splitlines()[0])
    assert (verdict["verdict"], verdict["controls"]) == ("supported", 126)
    assert verdict["queries"] <= 199
    assert "live stands closer to aurora" in (tmp_path / "page.html").read_text()
    bundle = tmp_path / "bundle.kdg"
    assert run("audit", "sign", tmp_path / "case.json", *ledger, "--out", bundle).exit_code == 0
    assert run("audit", "verify", bundle, "--ledger", tmp_path / "ledger").exit_code == 0
    again = run("lineage", "verify", bundle, *told, "--responses", tmp_path / "live")
    assert again.exit_code == 0, again.output
