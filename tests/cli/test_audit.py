"""`kdguard audit` as its users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdguard.audit.case import write_case
from kdguard.cli import app
from kdguard.errors import InputError
from tests.audit.made_case import make_case

RUN = CliRunner()


def _run(*words: object, status: int = 0) -> str:
    done = RUN.invoke(app, ["audit", *map(str, words)])
    assert done.exit_code == status, done.output
    return done.stdout


def test_sign_and_verify_elsewhere(tmp_path: Path) -> None:
    made = make_case(tmp_path)
    write_case(made.case, tmp_path / "case.json")
    bundle = tmp_path / "case.bundle"
    ledger = made.ledger.directory
    words = (
        "sign",
        tmp_path / "case.json",
        "--keys",
        made.keys.directory,
        "--ledger",
        ledger,
        "--out",
        bundle,
    )
    told = json.loads(_run(*words, "--json"))
    verified = json.loads(_run("verify", bundle, "--trust", told["signer"], "--ledger", ledger, "--json"))
    assert verified["verified"] is True
    assert verified["result"][0]["subject"] == "acme"
    shown = _run("verify", bundle)
    assert "not checked against --trust" in shown
    assert "does not show who collected the text" in shown

    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    assert json.loads(_run("verify", bundle, "--json", status=1))["verified"] is False
    _run("verify", tmp_path / "absent", status=2)


def test_keys_commit_rotate_revoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path / "keys"))
    ledger = tmp_path / "ledger"
    old = json.loads(_run("keys", "create", "--json"))["signer"]
    words = ("commit", "--scheme", "canary", "--epoch", "2026-11", "--ledger", ledger)
    told = json.loads(_run(*words, "--account", "acme", "--account", "other", "--json"))
    assert (len(told["key_ids"]), told["size"]) == (2, 3)
    assert set(json.loads(_run(*words))) == {"envelope", "public"}

    new = json.loads(_run("keys", "rotate", "--ledger", ledger, "--json"))
    assert (new["generation"], new["signer"] != old) == (2, True)
    assert old in _run("keys", "revoke", old, "--reason", "laptop lost", "--ledger", ledger)
    assert json.loads(_run(*words, "--json"))["size"] == 7


def test_a_bad_start_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDGUARD_KEYS", raising=False)
    words = ["audit", "commit", "--scheme", "canary", "--epoch", "e", "--ledger", str(tmp_path)]
    done = RUN.invoke(app, words)
    assert isinstance(done.exception, InputError)
    assert "give --keys DIR or set KDGUARD_KEYS" in str(done.exception)
