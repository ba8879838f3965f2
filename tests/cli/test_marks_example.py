"""The worked example of `detectors/EXAMPLE.md`, command by command as it is printed there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("torch", reason="needs the extra 'distill'")
pytest.importorskip("fastapi", reason="needs the extra 'service'")

EXAMPLE = Path(__file__).parents[2] / "detectors" / "EXAMPLE.md"
SMALLER = {
    "examples = 2000": "examples = 200",
    "steps = 400": "steps = 20",
    "steps = 500": "steps = 20",
    "requests = 600": "requests = 40",
    "requests = 1500": "requests = 60",
    "--case": "--alpha 1 --case",
    "--alpha 0.01 --alpha 1": "--alpha 1",
}
"""A run that proves nothing but that every command does its work; with alpha 1 every case is written."""


def _run(folder: Path, changes: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = "\n".join(re.findall(r"```sh\n(.*?)```", EXAMPLE.read_text(encoding="utf-8"), re.DOTALL))
    for told, instead in changes.items():
        assert told in script
        script = script.replace(told, instead)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PORT": str(port), "OMP_NUM_THREADS": "1"}
    environment.pop("KDGUARD_KEYS", None)
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )


def _check(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert done.returncode == 0, done.stderr[-4000:]
    assert "verified: leakers.bundle" in done.stdout
    assert "verified: learnt.bundle" in done.stdout
    assert "REFUSED forged.bundle" in done.stderr
    told = "".join(path.read_text() for path in (folder / "elsewhere").glob("*.bundle"))
    secret = next((folder / "keys").rglob("master.key")).read_bytes()
    assert secret.hex() not in told


def test_every_command_of_the_example_works(tmp_path: Path) -> None:
    _check(_run(tmp_path, SMALLER), tmp_path)
    log = [json.loads(line) for line in (tmp_path / "served.jsonl").read_text().splitlines()]
    assert {row["account_id"] for row in log} <= {"acme", "bolt", "corp"}


def test_the_example_finds_the_thief_and_nobody_else(tmp_path: Path) -> None:
    """False-fail rate: that `fair` is named has chance 1e-3; that no thief is named was never seen."""
    done = _run(tmp_path, {})
    _check(done, tmp_path)
    named = set(re.findall(r"^(\w+): at \d+ of", done.stdout, re.MULTILINE))
    assert named & {"acme", "bolt", "corp"}
    assert "fair" not in named
    assert "all: mark detected (randomised)" in done.stdout
