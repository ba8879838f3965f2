"""Live lineage audits over HTTP: what the command says of the same suspect; only suspects that the operator listed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kdguard.distill.teachers.reach import Reach
from kdguard.errors import ServiceError
from kdguard.service.api.settings import Settings, Suspect
from kdguard.service.live import suspect_jobs
from kdguard.service.live.errands import folder_of
from kdguard.service.store import jobs
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job
from kdguard.service.store.secrets import open_secrets
from tests.distill.teachers.scripted_server import Script
from tests.lineage.endpoint import probes_frame, suspect
from tests.lineage.made import answers
from tests.scoring_service.pages.visiting import signed_in
from tests.scoring_service.running import Running, client, running, started, until
from tests.scoring_service.test_lineage_jobs import FAMILIES, controls, rows
from tests.scoring_service.test_marks import ended
from tests.scoring_service.vaults import command, committed_vault, write_lines

PROMPTS = 20
STUDENT = answers(9001, habits=1, prompts=PROMPTS)
PROBES = [
    {str(name): value for name, value in row.items()} for row in probes_frame(PROMPTS).to_dict("records")
]


def stored() -> list[dict[str, Any]]:
    """Answers of teachers and controls."""
    return [row for row in rows() if row["model"] not in ("student", "innocent")]


def asked(**more: Any) -> dict[str, Any]:
    """A body of an audit."""
    told = {"responses": stored(), "families": FAMILIES, "controls": controls(stored()), "named": ["a"]}
    return told | {"probes": PROBES, "endpoint": "rival", "suspect": "s"} | more


@contextmanager
def audited(
    folder: Path, answer: Callable[[int, int], str], **settings: Any
) -> Iterator[tuple[Running, Script]]:
    """A service that may ask one suspect."""
    with suspect(answer) as script:
        listed = {
            "name": "rival",
            "url": script.url,
            "model": "m",
            "key": "sk-their-secret",
            "concurrency": 4,
        }
        with running(folder / "data", suspects=[listed], **settings) as service:
            yield service, script


def audit(service: Running, **more: Any) -> dict[str, Any]:
    response = service.client.post("/v1/lineage/live", json=asked(**more))
    assert response.status_code == 202, response.text
    return ended(service, response.json()["job"])


def test_verdict_report_answers_and_bundle(tmp_path: Path) -> None:
    committed_vault(tmp_path / "vault")
    with audited(tmp_path, lambda number, prompt: STUDENT[prompt], vault=tmp_path / "vault") as (
        service,
        script,
    ):
        told = audit(service)
        assert (told["state"], told["progress"], told["kind"]) == ("done", 1.0, "lineage_live"), told
        assert told["result"]["asked"]["answers"] == 10
        files = {name: write_lines(tmp_path / f"{name}.jsonl", sent) for name, sent in tables().items()}
        (tmp_path / "families.toml").write_text(FAMILIES)
        words = ["lineage", "test", "--families", tmp_path / "families.toml", "--family", "a", "--json"]
        words += [word for name, file in files.items() for word in (f"--{name}", file)]
        words += ["--suspect-url", script.url, "--suspect", "s", "--out", tmp_path / "asked"]
        theirs = command(tmp_path, *words, status=1)
        (mine,) = told["result"]["verdicts"]
        assert [{name: mine[name] for name in theirs[0]}] == theirs
        assert (mine["verdict"], mine["queries"]) == ("supported", 10)
        analyst = signed_in(service, service.key("read"))
        shown = analyst.get(f"/pages/lineage/{told['id']}").text
        assert "10 answers of <code>rival</code> at http://127.0.0.1:" in shown
        assert told["id"][:12] in analyst.get("/pages/lineage").text
        page = service.client.get(f"/v1/jobs/{told['id']}/report")
        assert "Supported" in page.text
        assert "habit" not in page.text  # no word of an answer
        kept = service.client.get(f"/v1/jobs/{told['id']}/answers")
        assert {json.loads(line)["response"] for line in kept.text.splitlines()} <= set(STUDENT)
        (tmp_path / "answers.jsonl").write_bytes(kept.content)
        bundle = service.client.post(f"/v1/jobs/{told['id']}/bundle", json={})
        assert bundle.status_code == 200, bundle.text
        (tmp_path / "s.bundle").write_bytes(bundle.content)
        verify = [
            "lineage",
            "verify",
            tmp_path / "s.bundle",
            "--families",
            tmp_path / "families.toml",
            "--json",
        ]
        verify += ["--responses", files["responses"], "--responses", tmp_path / "answers.jsonl"]
        assert command(tmp_path, *verify, "--controls", files["controls"])[0]["verified"] is True
        actions = [entry["action"] for entry in service.client.get("/v1/audit").json()["items"]]
        assert {"lineage.live", "lineage.answers", "bundle.sign"} <= set(actions)
        assert script.keys[:10] == ["sk-their-secret"] * 10
        for path in (tmp_path / "data").rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert b"sk-their-secret" not in content, path
            assert STUDENT[0].encode() not in content, path


def tables() -> Mapping[str, list[dict[str, Any]]]:
    return {"responses": stored(), "controls": controls(stored()), "probes": PROBES}


def test_who_may_ask_whom(tmp_path: Path) -> None:
    with audited(tmp_path, lambda number, prompt: STUDENT[prompt]) as (service, script):
        (listed,) = service.client.get("/v1/lineage/endpoints").json()
        assert listed == {"name": "rival", "url": script.url, "model": "m", "owned": None, "permission": None}
        reader, stranger = service.as_(service.key("read")), service.as_(service.key(tenant="other"))
        assert reader.post("/v1/lineage/live", json=asked()).status_code == 403
        assert stranger.get("/v1/lineage/endpoints").json() == []
        assert stranger.post("/v1/lineage/live", json=asked()).status_code == 404
        assert service.client.post("/v1/lineage/live", json=asked(endpoint=script.url)).status_code == 404
        odd = asked() | {"url": "http://127.0.0.1:1/v1"}
        assert service.client.post("/v1/lineage/live", json=odd).status_code == 422
        job = audit(service, budget=10)["id"]
        assert stranger.get(f"/v1/jobs/{job}/answers").status_code == 404
        assert reader.get(f"/v1/jobs/{job}/answers").status_code == 403
        assert service.client.get(f"/v1/jobs/{'0' * 32}/answers").status_code == 404


def test_what_cannot_be_asked_says_why(tmp_path: Path) -> None:
    with audited(tmp_path, lambda number, prompt: STUDENT[prompt]) as (service, script):
        other = audit(service, probes=[{"prompt_id": "x", "prompt": "Question 1?"}])
        assert (other["state"], "share 0 prompt ids" in other["result"]["error"]) == ("failed", True)
        assert "model 'teacher-a' already" in audit(service, suspect="teacher-a")["result"]["error"]
        short = audit(service, token_budget=1)
        assert "the budget of tokens" in short["result"]["error"]
        script.reply = lambda number, body: (
            401,
            {"error": {"message": "no such key", "code": "bad_key"}},
            {},
        )
        refused = audit(service)
        assert "answered none of 10 prompts" in refused["result"]["error"]
        assert "sk-their-secret" not in json.dumps(refused)
        assert service.client.get(f"/v1/jobs/{refused['id']}/answers").status_code == 404
        checks = suspect_jobs.LiveAudits(
            service.app.state.service.database, service.app.state.service.secrets, {}
        )
        with pytest.raises(ServiceError, match="rival is listed no more"):
            checks.run(Job("j", "default", "lineage_live", {"suspect": "s", "endpoint": "rival"}), tmp_path)


def test_a_suspect_that_changes_is_not_claimed(tmp_path: Path) -> None:
    other = answers(9002, habits=7, prompts=PROMPTS)
    with audited(tmp_path, lambda number, prompt: (STUDENT if number < 10 else other)[prompt]) as (
        service,
        _,
    ):
        told = audit(service)
    (verdict,) = told["result"]["verdicts"]
    assert verdict["verdict"] == "inconclusive"
    assert "not one model all along" in verdict["reason"]


def test_a_silent_suspect_delays_no_other_job_and_no_end(tmp_path: Path) -> None:
    """The server ends in time while a suspect keeps it waiting; whoever takes the job up asks nothing twice."""
    silent = threading.Event()

    def answer(number: int, prompt: int) -> str:
        if number >= 6:
            silent.wait(60)
        return STUDENT[prompt]

    with suspect(answer) as script:
        listed = json.dumps([{"name": "rival", "url": script.url, "model": "m", "concurrency": 1}])
        service, key = started(tmp_path / "data", environment=[("KDGUARD_SERVICE_SUSPECTS", listed)])
        assert key is not None
        with client(service.url, key) as asking:
            job = asking.post("/v1/lineage/live", json=asked()).json()["job"]
            until(lambda: len(script.seen) >= 7)
            assert 0 < asking.get(f"/v1/jobs/{job}").json()["progress"] < 1
            stored_one = asking.post("/v1/lineage", json=told_of_stored()).json()["job"]
            until(lambda: asking.get(f"/v1/jobs/{stored_one}").json()["state"] == "done", wait_s=60)
        assert service.end() < 10.0
        silent.set()
        before = len(script.seen)
        told = _taken_up(tmp_path / "data", job, script.url)
        assert len(script.seen) - before == 2 * 10 - 6
    assert [one["verdict"] for one in told["verdicts"]] == ["supported"]


def _taken_up(data: Path, job: str, url: str) -> Mapping[str, Any]:
    """What comes of a job that a process left behind."""
    settings = Settings(data=data)
    database = Database(settings.database)
    with database.read() as connection:
        given = jobs.given_of(connection, "default", job)
    assert given is not None
    endpoints = {("default", "rival"): Reach(url=url, model="m", concurrency=1)}
    audits = suspect_jobs.LiveAudits(database, open_secrets(settings.master_key), endpoints)
    done = audits.run(Job(job, "default", suspect_jobs.KIND, given), folder_of(data, "default", job))
    database.close()
    return done.result


def told_of_stored() -> dict[str, Any]:
    told = {"responses": rows(), "families": FAMILIES, "controls": controls(rows()), "suspects": ["student"]}
    return told | {"named": ["a"]}


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ({"url": "http://203.0.113.5/v1"}, "is not this machine"),
        ({"url": "http://user@127.0.0.1/v1"}, "plain http or https address"),
        ({"url": "ftp://127.0.0.1/v1"}, "must start with"),
        ({"url": "http://127.0.0.1:9/v1", "concurrency": 0}, "greater than or equal to 1"),
    ],
)
def test_suspects_that_may_not_be_listed(listed: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Suspect(name="rival", model="m", **listed)


def test_a_stranger_needs_a_declaration_and_a_name_of_its_own() -> None:
    told: dict[str, Any] = {
        "name": "rival",
        "url": "https://203.0.113.5/v1",
        "model": "m",
        "permission": "letter of 2026-11-02",
    }
    assert Settings(suspects=(Suspect(**told),)).suspects[0].permission == "letter of 2026-11-02"
    with pytest.raises(ValueError, match="different names"):
        Settings(suspects=(Suspect(**told), Suspect(**told)))
