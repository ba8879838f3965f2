"""Lineage audits from the upload to a stranger's check: what the command says of the same tables, as a job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdguard.service.live import errands
from kdguard.service.store import jobs
from kdguard.service.store.jobs import Job
from tests.lineage.made import table
from tests.scoring_service.running import Running, running
from tests.scoring_service.test_marks import ended
from tests.scoring_service.vaults import command, committed_vault, write_lines

FAMILIES = '[a]\nmembers = ["teacher-a"]\nvendor = "north"\n[b]\nmembers = ["teacher-b"]\nvendor = "south"\n'
SUSPECTS = ["student", "innocent"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lineage")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Running]:
    committed_vault(folder / "vault")
    with running(folder / "data", vault=folder / "vault") as made:
        yield made


def rows() -> list[dict[str, Any]]:
    frame = table(prompts=20).astype({"prompt_id": str})
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def controls(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = sorted({str(row["model"]) for row in answers if str(row["model"]).startswith("control")})
    listed = [{"teacher_family": "a", "control": name, "kind": "student_pool"} for name in names]
    return [*listed, {"teacher_family": "a", "control": "teacher-b", "kind": "teacher_of_other_vendor"}]


def audited(service: Running, **more: Any) -> dict[str, Any]:
    answers = rows()
    asked = {"responses": answers, "families": FAMILIES, "suspects": SUSPECTS, "controls": controls(answers)}
    response = service.client.post("/v1/lineage", json=asked | more)
    assert response.status_code == 202, response.text
    return ended(service, response.json()["job"])


def test_verdicts_report_and_bundle(service: Running, folder: Path) -> None:
    told = audited(service, named=["a"])
    result, answers = told["result"], rows()
    assert (told["state"], told["progress"]) == ("done", 1.0)
    files = {
        "responses": write_lines(folder / "responses.jsonl", answers),
        "controls": write_lines(folder / "controls.jsonl", controls(answers)),
    }
    (folder / "families.toml").write_text(FAMILIES)
    words = ["lineage", "test", "--families", folder / "families.toml", "--family", "a", "--json"]
    words += [word for name in ("responses", "controls") for word in (f"--{name}", files[name])]
    theirs = command(folder, *words, "--suspect", "student", "--suspect", "innocent", status=1)
    shared = set(theirs[0])
    assert [{name: one[name] for name in shared} for one in result["verdicts"]] == theirs
    assert {one["suspect"]: one["verdict"] for one in theirs} == {
        "student": "supported",
        "innocent": "not_supported",
    }
    page = service.client.get(f"/v1/jobs/{told['id']}/report")
    assert page.headers["content-disposition"].startswith("attachment")
    assert "student" in page.text
    assert "Supported" in page.text
    assert "habit" not in page.text  # no word of an answer
    assert service.client.post(f"/v1/jobs/{told['id']}/bundle", json={}).json()["suspects"] == sorted(
        SUSPECTS
    )
    bundle = service.client.post(f"/v1/jobs/{told['id']}/bundle", json={"suspect": "student"})
    assert bundle.status_code == 200, bundle.text
    (folder / "student.bundle").write_bytes(bundle.content)
    verify = ["lineage", "verify", folder / "student.bundle", "--responses", files["responses"]]
    verify += ["--families", folder / "families.toml", "--controls", files["controls"], "--json"]
    assert command(folder, *verify)[0]["verified"] is True
    assert (
        command(folder, "audit", "verify", folder / "student.bundle", "--json")[0]["test"] == "lineage.text"
    )
    assert not list((folder / "data" / "tenants" / "default" / "uploads").glob("*"))


def test_what_cannot_be_tested_says_why(service: Running) -> None:
    told = audited(service, families="[a")
    assert told["state"] == "failed"
    assert "must be TOML" in told["result"]["error"]
    told = audited(service, suspects=["nobody"])
    assert "nobody" in told["result"]["error"]
    assert service.client.get(f"/v1/jobs/{told['id']}/report").status_code == 404
    assert service.client.post(f"/v1/jobs/{told['id']}/bundle", json={}).status_code == 404


def test_a_doubtful_suspect_is_not_claimed(service: Running) -> None:
    answers = rows()
    for row in answers:
        if row["model"] == "student":
            row["response"] = "I'm sorry, but I cannot help with that."
    told = audited(service, responses=answers, suspects=["student"], named=["a"])
    (verdict,) = told["result"]["verdicts"]
    assert verdict["verdict"] == "inconclusive"
    assert "refusals" in verdict["reason"]


def test_a_job_that_breaks_ends_and_ends_nothing_else(
    service: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("a secret text")

    with monkeypatch.context() as patched:
        patched.setattr("kdguard.service.live.lineage_jobs.read_frame", breaks)
        told = audited(service)
    assert told["state"] == "failed"
    assert told["result"] == {"error": "an error of ours: RuntimeError"}
    assert "job failed" in caplog.messages
    assert "must be TOML" in audited(service, families="[a")["result"]["error"]  # the next one is done


def test_a_job_whose_database_fails_is_done_again(service: Running, folder: Path) -> None:
    app = service.app.state.service
    with app.database.write() as connection:
        job = Job(jobs.add(connection, "default", jobs.HELD, {}), "default", "lineage", {})
    place = errands.folder_of(folder / "data", "default", job.id)
    place.mkdir(parents=True)

    def fails(job: Job, folder: Path) -> errands.Done:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        errands.carry_out(app.database, folder / "data", job, fails)
    assert place.is_dir()
    errands.carry_out(app.database, folder / "data", job, lambda job, folder: errands.Done({}))
    assert not place.exists()


def test_the_report_of_accounts_opens_from_disk(service: Running) -> None:
    stranger = service.as_(service.key("read", tenant="other"))
    assert stranger.get("/v1/report").status_code == 404
    assert service.as_(service.key("ingest")).get("/v1/report").status_code == 403
