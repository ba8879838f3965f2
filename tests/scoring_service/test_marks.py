"""Marks over HTTP: registered, looked for, and proven to a stranger, as the command line does it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import tokenizers

from kdguard.audit.bundle import BUNDLE_TYPE
from kdguard.detectors.canary.planning import read_plan
from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.keys import open_keys
from tests.detectors.canary.made_plan import suspect_answers
from tests.detectors.twins.made_twins import candidates
from tests.detectors.watermark.made_texts import marked_texts
from tests.detectors.watermark.radioactivity.bigrams import taught, write
from tests.scoring_service.running import Running, running, until
from tests.scoring_service.vaults import command, make_vault, write_lines

SCHEME = GreenSiphash(1, 0.25)
EPOCH = "2026-12"
OCTETS = {"content-type": "application/octet-stream"}
TOLD = {"mark": SCHEME.record(), "epoch": EPOCH}


@dataclass(frozen=True)
class Marked:
    """A service whose operator keeps a vault, and a folder to work in."""

    service: Running
    vault: Path
    folder: Path

    def put(self, kind: str, name: str, content: bytes) -> httpx.Response:
        return self.service.client.put(f"/v1/marks/{kind}/{name}", content=content, headers=OCTETS)

    def check(self, **asked: Any) -> dict[str, Any]:
        """A check that ended."""
        response = self.service.client.post("/v1/marks/checks", json=asked)
        assert response.status_code == 202, response.text
        return ended(self.service, response.json()["job"])

    def verified(self, job: str, *more: object) -> dict[str, Any]:
        """What a stranger makes of a job's bundle."""
        response = self.service.client.post(f"/v1/jobs/{job}/bundle", json={})
        assert (response.status_code, response.headers["content-type"]) == (200, BUNDLE_TYPE), response.text
        bundle = self.folder / f"{job}.bundle"
        bundle.write_bytes(response.content)
        words = ("audit", "verify", bundle, "--ledger", self.vault / "ledger", "--json")
        (told,) = command(self.folder, *words, *more)
        return told


def ended(service: Running, job: str) -> dict[str, Any]:
    told: dict[str, Any] = until(
        lambda: (
            (found := service.client.get(f"/v1/jobs/{job}").json())["state"] in ("done", "failed") and found
        )
    )
    return told


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marked]:
    folder = tmp_path_factory.mktemp("marks")
    vault = make_vault(folder / "vault")
    with running(folder / "data", vault=folder / "vault") as service:
        yield Marked(service, vault, folder)


@pytest.fixture(scope="module")
def texts(marked: Marked) -> list[dict[str, Any]]:
    """A committed watermark, registered; texts of one who bears it and one who does not."""
    mark = marked.folder / "mark.json"
    mark.write_text(json.dumps(SCHEME.record()))
    words = ("audit", "commit", "--scheme", "watermark", "--epoch", EPOCH, "--parameters", mark)
    command(marked.vault, *words, "--ledger", marked.vault / "ledger", "--json")
    assert marked.service.client.put("/v1/marks/watermark/green", json=TOLD).status_code == 200
    secret = open_keys(marked.vault / "keys").current.derive(KeyName("watermark", "", EPOCH)).key.reveal()
    bearing = marked_texts(SCHEME, secret, np.random.default_rng(3), 60, 40)
    plain = np.random.default_rng(4).integers(0, 500, (40, 40)).tolist()
    return [{"subject": "thief", "token_ids": ids} for ids in bearing] + [
        {"subject": "other", "token_ids": ids} for ids in plain
    ]


def test_a_watermark_is_found_as_the_command_finds_it_and_proven(
    marked: Marked, texts: list[dict[str, Any]]
) -> None:
    told = marked.check(kind="watermark", name="green", texts=texts, decoys=199)
    result = told["result"]
    assert (told["state"], told["progress"], result["found"], result["bundle"]) == ("done", 1.0, True, True)
    sent = write_lines(marked.folder / "texts.jsonl", texts)
    words = (
        "watermark",
        "detect",
        sent,
        "--mark",
        marked.folder / "mark.json",
        "--epoch",
        EPOCH,
        "--by",
        "subject",
    )
    lines = command(
        marked.vault, *words, "--ledger", marked.vault / "ledger", "--decoys", 199, "--json", status=1
    )
    assert result["lines"] == lines
    assert [line["decision"] for line in lines[:2]] == ["not_detected", "detected"]
    verified = marked.verified(told["id"], "--input", sent)
    assert verified["verified"] is True
    assert verified["test"] == "watermark.text"
    assert verified["inputs"] == ["texts.jsonl"]


def test_nothing_found_is_not_called_clean(marked: Marked, texts: list[dict[str, Any]]) -> None:
    told = marked.check(kind="watermark", name="green", texts=texts[60:], decoys=9)
    assert told["result"]["found"] is False
    assert "no evidence of its absence" in told["result"]["lines"][-1]["summary"]["note"]
    assert marked.service.client.post(f"/v1/jobs/{told['id']}/bundle", json={}).status_code == 404


def test_words_need_the_tokenizer_the_mark_is_written_in(marked: Marked, texts: list[dict[str, Any]]) -> None:
    rows = [
        {"text": " ".join(f"w{one}" for one in row["token_ids"]), "subject": row["subject"]} for row in texts
    ]
    told = marked.check(kind="watermark", name="green", texts=rows)
    assert told["state"] == "failed"
    assert "tokenizer" in told["result"]["error"]
    assert str(marked.folder) not in told["result"]["error"]
    words = tokenizers.models.WordLevel({f"w{number}": number for number in range(500)}, unk_token="w0")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    response = marked.put("watermark", "green/tokenizer", tokenizer.to_str().encode())
    assert response.status_code == 200, response.text
    told = marked.check(kind="watermark", name="green", texts=rows, decoys=199)
    assert told["result"]["found"] is True
    assert marked.put("watermark", "green/tokenizer", b"{}").status_code == 422


def test_radioactivity_tells_suspects_apart_as_the_command_does_and_is_proven(
    marked: Marked, texts: list[dict[str, Any]]
) -> None:
    secret = open_keys(marked.vault / "keys").current.derive(KeyName("watermark", "", EPOCH)).key.reveal()
    key, rng = derived_key(secret, SCHEME.key_words, SCHEME.key_bits), np.random.default_rng(3)
    wrote = {"guilty": taught(0.2, rng, key=key), "innocent": taught(0.0, rng)}
    said = [
        {"subject": who, "token_ids": text.tolist()}
        for who, chances in wrote.items()
        for text in write(chances, rng, 200)
    ]
    clean = [{"subject": "all", "token_ids": text.tolist()} for text in write(taught(0.0, rng), rng, 600)]
    told = marked.check(kind="radioactivity", name="green", texts=said, clean=clean, decoys=199)
    sent = write_lines(marked.folder / "said-by-suspects.jsonl", said)
    beside = write_lines(marked.folder / "clean.jsonl", clean)
    words = ("watermark", "radioactivity", sent, "--clean", beside, "--mark", marked.folder / "mark.json")
    theirs = command(
        marked.vault,
        *(*words, "--epoch", EPOCH, "--by", "subject", "--decoys", 199),
        *("--ledger", marked.vault / "ledger", "--json"),
        status=1,
    )
    assert told["result"]["lines"] == theirs
    assert {one["subject"]: one["decision"] for one in theirs[:2]} == {
        "guilty": "detected",
        "innocent": "not_detected",
    }
    assert told["result"]["searched"].startswith("2 subjects")
    verified = marked.verified(told["id"], "--input", sent, "--input", beside)
    assert (verified["verified"], verified["test"]) == (True, "watermark.radioactivity")
    none_served = marked.check(
        kind="radioactivity", name="green", texts=said, clean=clean, decoys=9, known=[{"token_ids": [1]}]
    )
    assert none_served["result"]["found"] is False


def test_canaries_name_the_account_that_leaked(marked: Marked) -> None:
    accounts, plan_file = marked.folder / "accounts.csv", marked.folder / "canaries.parquet"
    accounts.write_text("account_id,requests\n" + "".join(f"a{number},9000\n" for number in range(5)))
    words = ("canary", "plan", "--accounts", accounts, "--epoch", EPOCH, "--share", "0.005", "--json")
    command(marked.vault, *words, "--ledger", marked.vault / "ledger", "--out", plan_file)
    registered = marked.put("canary", "december", plan_file.read_bytes()).json()
    assert (registered["body"]["accounts"], registered["body"]["sites"]) == (5, 9)
    keys = open_keys(marked.vault / "keys").current
    said = suspect_answers(read_plan(plan_file, keys), keys, "a2", 0.6, np.random.default_rng(0)) * 2
    rows = [{"site_id": site, "response": text} for site, text in said]
    told = marked.check(kind="canary", name="december", answers=rows)
    sent = write_lines(marked.folder / "answers.jsonl", rows)
    verify = ("canary", "verify", "--canaries", plan_file, "--answers", sent, "--json")
    assert told["result"]["lines"] == command(marked.vault, *verify, status=1)
    assert "a2" in {line["subject"] for line in told["result"]["lines"]}
    assert marked.verified(told["id"], "--input", sent)["verified"] is True
    alone = marked.check(kind="canary", name="december", answers=rows, accounts=["a1"])
    assert alone["result"]["found"] is False
    _lies_encrypted(marked, plan_file)


def _lies_encrypted(marked: Marked, plan_file: Path) -> None:
    """Neither cues nor accounts of a plan stand in any file of the service."""
    cues = [cue for cue in pq.read_table(plan_file)["cue"].to_pylist() if cue]
    assert cues
    for path in (marked.folder / "data").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert cues[0].encode() not in content, path
        assert b'"marked"' not in content, path
    assert not list((marked.folder / "data" / "tenants" / "default").glob("open-*"))
    assert not list((marked.folder / "data" / "tenants" / "default" / "uploads").glob("*"))


def test_twins_name_the_account_that_leaked(marked: Marked) -> None:
    names = ("request_id", "account_id", "prompt", "answer_0", "answer_1")
    pairs = [dict(zip(names, row, strict=True)) for row in candidates(6, 160, shared=True)]
    plan_file = marked.folder / "twins.parquet"
    words = ("twins", "plan", "--candidates", write_lines(marked.folder / "pairs.jsonl", pairs), "--json")
    command(marked.vault, *words, "--epoch", EPOCH, "--ledger", marked.vault / "ledger", "--out", plan_file)
    assert marked.put("twins", "december", plan_file.read_bytes()).json()["body"]["sites"] == 160
    served = [row for row in pq.read_table(plan_file).to_pylist() if row["account_id"] == "a3"]
    rows = [{"site_id": row["site_id"], "response": row[f"answer_{row['released']}"]} for row in served]
    told = marked.check(kind="twins", name="december", answers=rows)
    sent = write_lines(marked.folder / "said.jsonl", rows)
    verify = ("twins", "verify", "--twins", plan_file, "--suspect", sent, "--json")
    assert told["result"]["lines"] == command(marked.vault, *verify, status=1)
    assert [line["subject"] for line in told["result"]["lines"]] == ["a3"]
    assert marked.verified(told["id"])["verified"] is True
    likely = [{"site_id": row["site_id"], "logprob_0": -2.0, "logprob_1": -2.0} for row in served]
    log = [{"account_id": row["account_id"], "prompt": row["prompt"]} for row in served]
    told = marked.check(
        kind="twins", name="december", answers=likely, served=log, everyone=True, clean=likely
    )
    assert told["result"]["found"] is False


def test_what_is_no_mark_is_refused(marked: Marked, texts: list[dict[str, Any]]) -> None:
    client = marked.service.client
    odd = marked.put("canary", "other", b"PAR1 no plan")
    assert odd.status_code == 422
    assert odd.json()["detail"].startswith("plan.parquet: must be a canaries file")
    assert marked.put("twins", "other", b"").status_code == 422
    assert client.put("/v1/marks/watermark/x", json=TOLD | {"mark": {"scheme": "none"}}).status_code == 422
    assert client.put("/v1/marks/watermark/.hidden", json=TOLD).status_code == 422
    assert (
        client.post("/v1/marks/checks", json={"kind": "twins", "name": "no", "answers": []}).status_code
        == 422
    )
    gone = {"kind": "canary", "name": "no", "answers": [{"site_id": "s", "response": "x"}]}
    assert client.post("/v1/marks/checks", json=gone).status_code == 404
    mixed = marked.check(kind="watermark", name="green", texts=[texts[0], {"text": "words"}])
    assert mixed["result"]["error"] == "every row must have token_ids, or every row text"
    uncommitted = {"mark": GreenSiphash(2, 0.5).record(), "epoch": EPOCH}
    assert client.put("/v1/marks/watermark/uncommitted", json=uncommitted).status_code == 200
    told = marked.check(kind="watermark", name="uncommitted", texts=texts)
    assert "other parameters" in told["result"]["error"]
    assert client.delete("/v1/marks/watermark/uncommitted").status_code == 204
    assert client.delete("/v1/marks/watermark/uncommitted").status_code == 404


def test_who_may(marked: Marked, texts: list[dict[str, Any]]) -> None:
    service = marked.service
    asked = {"kind": "watermark", "name": "green", "texts": texts[:1]}
    reader, auditor = service.as_(service.key("read")), service.as_(service.key("audit"))
    assert {one["name"] for one in reader.get("/v1/marks").json()} >= {"green"}
    assert reader.post("/v1/marks/checks", json=asked).status_code == 403
    job = auditor.post("/v1/marks/checks", json=asked).json()["job"]
    ended(service, job)
    assert auditor.post(f"/v1/jobs/{job}/bundle", json={}).status_code == 403
    assert auditor.put("/v1/marks/watermark/mine", json=TOLD).status_code == 403
    stranger = service.as_(service.key(tenant="stranger"))
    assert stranger.get("/v1/marks").json() == []
    assert stranger.get(f"/v1/jobs/{job}").status_code == 404
    assert stranger.post(f"/v1/jobs/{job}/bundle", json={}).status_code == 404
    assert stranger.put("/v1/marks/watermark/green", json=TOLD).status_code == 200
    assert stranger.post("/v1/marks/checks", json=asked).json()["type"] == "urn:kdguard:problem:vault"
    (marked.folder / "vault" / "stranger" / "keys").mkdir(parents=True)
    broken = stranger.post("/v1/marks/checks", json=asked)
    assert broken.status_code == 422
    assert str(marked.folder) not in broken.text
    actions = {entry["action"] for entry in service.client.get("/v1/audit").json()["items"]}
    assert actions >= {"mark.put", "mark.check"}


def test_a_forgotten_account_stands_in_no_result(marked: Marked) -> None:
    job = next(
        one["id"]
        for one in marked.service.client.get("/v1/jobs").json()
        if one["kind"] == "mark_check" and "a2" in json.dumps(one["result"])
    )
    forget = marked.service.client.delete("/v1/accounts/a2").json()["job"]
    ended(marked.service, forget)
    told = marked.service.client.get(f"/v1/jobs/{job}").json()
    assert told["result"] == {"forgotten": True}
    assert marked.service.client.post(f"/v1/jobs/{job}/bundle", json={}).status_code == 404
