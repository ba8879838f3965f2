"""A key for each account: who is named, over how many accounts, and that a stranger gets the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from kdguard.detectors.registered import find
from kdguard.detectors.watermark.detect import judge, what_counts
from kdguard.detectors.watermark.lines import detected_in
from kdguard.detectors.watermark.mark import Mark
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.windows import Texts
from kdguard.errors import InputError, WatermarkError
from kdguard.ledger.derivation import KeyName
from tests.audit.made_case import fixed_keys
from tests.command import run
from tests.detectors.watermark.made_texts import marked_texts

SCHEME = GreenSiphash(1, 0.25)
MARK = Mark(SCHEME, accounts=1_000)
EPOCH = "2026-12"
NAMES = ("acme", "bolt", "corp", "fair")


@pytest.fixture
def leaked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys of four accounts, committed among a thousand, and a suspect's text that bears the marks of two."""
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path / "keys"))
    keys = fixed_keys(tmp_path / "keys").current
    (tmp_path / "mark.json").write_text(json.dumps(MARK.parameters()))
    (tmp_path / "accounts.csv").write_text("account_id,plan\n" + "".join(f"{name},pro\n" for name in NAMES))
    commit = ("audit", "commit", "--scheme", "watermark", "--epoch", EPOCH, "--ledger", tmp_path / "ledger")
    run(*commit, "--parameters", tmp_path / "mark.json", "--accounts", tmp_path / "accounts.csv")
    rng = np.random.default_rng(3)
    texts = [
        text
        for name in NAMES[:2]
        for text in marked_texts(
            SCHEME, keys.derive(KeyName("watermark", name, EPOCH)).key.reveal(), rng, 60, 40
        )
    ]
    pyarrow.parquet.write_table(pa.table({"token_ids": texts}), tmp_path / "said.parquet")
    return tmp_path


def _detect(folder: Path, *words: object, status: int) -> list[dict[str, Any]]:
    named = ("--mark", folder / "mark.json", "--epoch", EPOCH, "--ledger", folder / "ledger", "--decoys", 199)
    told = run("watermark", "detect", folder / "said.parquet", *named, *words, "--json", status=status)
    return [json.loads(line) for line in told.splitlines()]


def test_the_accounts_whose_marks_are_there_are_named_over_all_that_have_one(leaked: Path) -> None:
    case = leaked / "case.json"
    *lines, last = _detect(leaked, "--accounts", leaked / "accounts.csv", "--case", case, status=1)
    assert last["summary"]["accounts_named"] == ["acme", "bolt"]
    found = {line["account"]: line for line in lines}
    assert [found[name]["decision"] == "detected" for name in NAMES] == [True, True, False, False]
    assert found["fair"]["p_adjusted"] == 1
    assert found["acme"]["among_accounts"] == 1_000
    least = min(found["acme"]["p_value"], found["bolt"]["p_value"])
    assert min(line["p_adjusted"] for line in lines) == pytest.approx(1_000 * least)
    run("audit", "sign", case, "--ledger", leaked / "ledger", "--out", leaked / "bundle")
    told = json.loads(run("audit", "verify", leaked / "bundle", "--json"))
    assert {one["subject"]: one["p_value"] for one in told["result"]} == {
        f"all, account {name}": pytest.approx(found[name]["p_adjusted"], rel=1e-9) for name in NAMES[:2]
    }
    assert "corp" not in (leaked / "bundle").read_text()


def test_whoever_leans_to_the_marks_of_two_accounts_names_both(leaked: Path) -> None:
    plain = np.random.default_rng(5).integers(0, 500, (600, 40)).tolist()
    pyarrow.parquet.write_table(pa.table({"token_ids": plain}), leaked / "clean.parquet")
    named = ("--mark", leaked / "mark.json", "--epoch", EPOCH, "--ledger", leaked / "ledger", "--decoys", 199)
    asked = ("--clean", leaked / "clean.parquet", "--gate-bits", 0, "--accounts", leaked / "accounts.csv")
    case = ("--case", leaked / "case.json", "--json")
    told = run("watermark", "radioactivity", leaked / "said.parquet", *named, *asked, *case, status=1)
    *lines, last = map(json.loads, told.splitlines())
    assert last["summary"]["accounts_named"] == ["acme", "bolt"]
    run("audit", "sign", leaked / "case.json", "--ledger", leaked / "ledger", "--out", leaked / "bundle")
    result = json.loads(run("audit", "verify", leaked / "bundle", "--json"))["result"]
    assert [one["p_value"] for one in result] == pytest.approx(
        [line["p_adjusted"] for line in lines[:2]], rel=1e-9
    )


def test_an_account_asked_alone_is_still_one_of_all(leaked: Path) -> None:
    line, _ = _detect(leaked, "--account", "bolt", status=1)
    assert line["p_adjusted"] == pytest.approx(1_000 * line["p_value"])


def test_bets_on_an_account_are_over_all_of_them_too(leaked: Path) -> None:
    named = (
        "--mark",
        leaked / "mark.json",
        "--epoch",
        EPOCH,
        "--ledger",
        leaked / "ledger",
        "--account",
        "acme",
    )
    told = run("watermark", "follow", leaked / "said.parquet", *named, "--batch", 1, "--json", status=1)
    *bets, last = map(json.loads, told.splitlines())
    assert bets[-1]["log10_e"] >= 9 > bets[-2]["log10_e"], "10^6 for alpha, 10^3 for the accounts"
    assert last["summary"]["p_value"] == pytest.approx(1_000 * 10 ** -last["summary"]["score"])
    assert last["summary"]["subject"] == "suspect, account acme"


def test_more_accounts_than_were_committed_to_are_refused(leaked: Path) -> None:
    (leaked / "mark.json").write_text(json.dumps(Mark(SCHEME, accounts=2).parameters()))
    with pytest.raises(WatermarkError, match='state "accounts": 4'):
        _detect(leaked, "--accounts", leaked / "accounts.csv", status=2)
    with pytest.raises(WatermarkError, match="give --account"):
        _detect(leaked, status=2)
    with pytest.raises(InputError, match="other parameters"):
        _detect(leaked, "--account", "acme", status=2)


def test_a_case_with_more_keys_than_accounts_is_refused() -> None:
    told = {"tokens": 9, "windows": [[1, 2]]}
    keys = {KeyName("watermark", name, EPOCH): bytes(32) for name in NAMES}
    with pytest.raises(WatermarkError, match="2 accounts"):
        find("watermark.text").run(
            {"subjects": {"s": told}, "searched": 1, "decoys": 199},
            Mark(SCHEME, accounts=2).parameters(),
            keys,
        )


def test_innocent_accounts_are_named_no_more_often_than_alpha() -> None:
    """200 texts against 50 accounts each, at .2 over all: false-fail rate below 1e-4."""
    rng, wrong = np.random.default_rng(0), 0
    mark = Mark(SCHEME, accounts=50)
    for text in range(200):
        kept = what_counts(SCHEME, Texts.of(list(rng.integers(0, 500, (5, 60)))))
        keys = [mark.key_of(bytes([text, account]) * 16, f"{account}") for account in range(50)]
        found = [verdict for key in keys for verdict in judge(SCHEME, key, kept, decoys=0)]
        wrong += bool(detected_in(found, 0.2))
    assert wrong <= 200 * 0.2 + 4 * (200 * 0.2 * 0.8) ** 0.5
    assert wrong >= 5, "a correction that never names anybody would pass as well"
