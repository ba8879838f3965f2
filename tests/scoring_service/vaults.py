"""A vault with keys and a ledger, as operators make it with the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from kdguard.cli import app
from tests.audit.made_case import fixed_keys


def make_vault(root: Path, tenant: str = "default") -> Path:
    """A key store; returns the tenant's folder."""
    folder = root / tenant
    folder.mkdir(parents=True)
    fixed_keys(folder / "keys")
    return folder


def committed_vault(root: Path) -> Path:
    """A vault whose keys of lineage were committed to."""
    vault = make_vault(root)
    words = ("audit", "commit", "--scheme", "lineage", "--epoch", "2026-12", "--ledger", vault / "ledger")
    command(vault, *words, "--json")
    return vault


def command(vault: Path, *words: object, status: int = 0) -> list[dict[str, Any]]:
    """Run a command with the vault's keys; the JSON lines that it prints."""
    done = CliRunner().invoke(app, list(map(str, words)), env={"KDGUARD_KEYS": str(vault / "keys")})
    assert done.exit_code == status, (done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows as whoever sends them would keep them."""
    path.write_text("".join(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows))
    return path
