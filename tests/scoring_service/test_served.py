"""The log link over HTTP: what the command says of the same answers; only while they are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Running, running, scored
from tests.scoring_service.test_marks import ended
from tests.scoring_service.vaults import command, committed_vault, write_lines

MODELS = ("student", "clean-1", "clean-2")


def log() -> list[dict[str, Any]]:
    """Four accounts of thirty answers each."""
    made = logs.rows(81, accounts=0, thieves=4, requests=30)
    for row in made:
        row |= {
            "response": f"the answer to {row['request_id']} is {row['prompt'][-20:]}",
            "output_tokens": 10,
        }
    return made


LOG = log()
LEARNT = "thief-1"


def likelihoods() -> list[dict[str, Any]]:
    """The student finds what one account was served much likelier."""
    rng = np.random.default_rng(3)
    rows = []
    for row in LOG:
        hard = float(rng.normal()) - 20
        for model in MODELS:
            own = 6.0 if model == "student" and row["account_id"] == LEARNT else 0.0
            logprob = round(hard + 0.3 * float(rng.normal()) + own, 6)
            rows.append({"model": model, "request_id": row["request_id"], "logprob": logprob})
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Running]:
    committed_vault(folder / "vault")
    with running(folder / "data", vault=folder / "vault", retain_days=2) as made:
        made.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        scored(made.client, len(LOG))
        yield made


def linked(service: Running, **asked: Any) -> dict[str, Any]:
    whole = {"suspect": "student", "clean": list(MODELS[1:]), "deals": 999} | asked
    response = service.client.post("/v1/lineage/served", json=whole)
    assert response.status_code == 202, response.text
    return ended(service, response.json()["job"])


def test_the_account_is_named_as_the_command_names_it(service: Running, folder: Path) -> None:
    rows = likelihoods()
    told = linked(service, likelihoods=rows)
    result = told["result"]
    assert told["state"] == "done", result
    assert result["found"] is True
    assert [line["account"] for line in result["lines"] if line["verdict"] == "supported"] == [LEARNT]
    (folder / "log.csv").write_text(
        "request_id,account_id,output_tokens\n"
        + "".join(f"{row['request_id']},{row['account_id']},10\n" for row in LOG)
    )
    (folder / "read.csv").write_text(
        "model,text_id,logprob\n"
        + "".join(f"{row['model']},{row['request_id']},{row['logprob']}\n" for row in rows)
    )
    words = ["lineage", "served", "--texts", folder / "log.csv", "--likelihoods", folder / "read.csv"]
    words += ["--suspect", "student", "--clean", "clean-1", "--clean", "clean-2", "--deals", 999, "--json"]
    theirs = command(folder, *words, status=1)
    assert {one["account"]: one["verdict"] for one in result["lines"]} == {
        one["account"]: one["verdict"] for one in theirs
    }
    bundle = service.client.post(f"/v1/jobs/{told['id']}/bundle", json={})
    assert bundle.status_code == 200, bundle.text
    (folder / "served.bundle").write_bytes(bundle.content)
    sent = write_lines(folder / "likelihoods.jsonl", rows)
    (verified,) = command(folder, "audit", "verify", folder / "served.bundle", "--input", sent, "--json")
    assert verified["test"] == "lineage.served"


def test_answers_do_where_there_are_no_likelihoods(service: Running) -> None:
    said = [
        {
            "model": model,
            "prompt": row["prompt"],
            "response": row["response"] if own else f"{model} says something else about it",
        }
        for row in LOG
        for model in MODELS
        for own in [model == "student" and row["account_id"] == LEARNT]
    ]
    told = linked(service, answers=said, accounts=[LEARNT])
    assert told["result"]["found"] is True, told
    assert told["result"]["lines"][0]["account"] == LEARNT


def test_what_cannot_be_linked_says_why(service: Running, tmp_path: Path) -> None:
    asked = {"suspect": "student", "likelihoods": [{"model": "student", "request_id": "x", "logprob": -1}]}
    told = linked(service, likelihoods=asked["likelihoods"], clean=[])
    assert told["result"]["error"] == "the journal holds no answer that the readings are about"
    both = asked | {"answers": [{"model": "student", "prompt": "x", "response": "y"}]}
    assert service.client.post("/v1/lineage/served", json=both).status_code == 422
    assert service.client.post("/v1/lineage/served", json={"suspect": "student"}).status_code == 422
    reader = service.as_(service.key("read"))
    assert reader.post("/v1/lineage/served", json=asked).status_code == 403
    with running(tmp_path) as forgetful:
        response = forgetful.client.post("/v1/lineage/served", json=asked)
    assert response.status_code == 409
    assert "retention is off" in response.json()["detail"]


def test_a_deleted_account_goes_from_the_results(service: Running) -> None:
    named = [one for one in service.client.get("/v1/jobs").json() if LEARNT in json.dumps(one["result"])]
    assert named
    ended(service, service.client.delete(f"/v1/accounts/{LEARNT}").json()["job"])
    assert LEARNT not in service.client.get("/v1/jobs").text
    told = linked(service, likelihoods=likelihoods())
    assert {line["account"] for line in told["result"]["lines"]} == {"thief-0", "thief-2", "thief-3"}
