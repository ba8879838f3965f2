"""The promises of the command line, kept through real processes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from kdguard.scoring.store import save_baseline
from kdguard.simulate.write import write
from tests.scoring.worlds import month_with_thieves, small_baseline


def kdguard(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "kdguard", *arguments], input=stdin, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, an accounts table and a baseline, as a user has them."""
    out = tmp_path_factory.mktemp("provider")
    write(month_with_thieves(), out, seed=13, world_digest="test", split="test")
    save_baseline(small_baseline(), out / "baseline.safetensors")
    return out


@pytest.fixture(scope="module")
def scored(folder: Path) -> subprocess.CompletedProcess[bytes]:
    return kdguard(
        "score", str(folder / "log.jsonl"), "--accounts", str(folder / "accounts.csv"),
        "--baseline", str(folder / "baseline.safetensors"), "--json", "--report", str(folder / "report.html"),
        "--ocsf", str(folder / "ocsf.jsonl"),
    )  # fmt: skip


def test_json_has_one_verdict_a_line_and_a_summary_last(scored: subprocess.CompletedProcess[bytes]) -> None:
    assert scored.returncode in {0, 1}, scored.stderr.decode()
    lines = [json.loads(line) for line in scored.stdout.splitlines()]
    assert set(lines[-1]) == {"summary"}
    assert {"accounts", "owners", "expected_innocent_reviews"} <= set(lines[-1]["summary"])
    keys = set(
        [
            "subject",
            "decision",
            "p_value",
            "p_pooled",
            "p_floor",
            "score",
            "requests",
            "first_alarm",
            "stratum",
            "calibration_size",
            "guarantee_state",
            "permitted",
            "abstain_reason",
            "clusters",
            "evidence",
            "techniques",
            "baseline_digest",
        ]
    )
    for line in lines[:-1]:
        assert set(line) == keys
        assert line["subject"]["kind"] in {"account", "cluster"}
    flagged = any(line["decision"] == "flag" for line in lines[:-1])
    assert scored.returncode == int(flagged)


def test_report_and_ocsf_are_written(scored: subprocess.CompletedProcess[bytes], folder: Path) -> None:
    assert scored.returncode in {0, 1}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    accounts = folder / "accounts.csv"
    assert hashlib.sha256(accounts.read_bytes()).hexdigest() in page
    assert f"--accounts {accounts} --baseline {folder / 'baseline.safetensors'}" in page
    events = [json.loads(line) for line in (folder / "ocsf.jsonl").read_text().splitlines()]
    assert events
    assert {event["class_uid"] for event in events} == {2004}


def test_parquet_and_jsonl_give_the_same_verdicts(
    scored: subprocess.CompletedProcess[bytes], folder: Path
) -> None:
    converted = kdguard("convert", str(folder / "log.jsonl"), "--to", str(folder / "again.parquet"))
    assert converted.returncode == 0, converted.stderr.decode()
    again = kdguard(
        "score", str(folder / "again.parquet"), "--accounts", str(folder / "accounts.csv"),
        "--baseline", str(folder / "baseline.safetensors"), "--json",
    )  # fmt: skip
    assert again.stdout.splitlines()[:-1] == scored.stdout.splitlines()[:-1]


def test_a_log_on_standard_input_and_unreadable_lines(folder: Path) -> None:
    good = (folder / "log.jsonl").read_bytes().splitlines()[:400]
    log = b"\n".join([*good[:200], b'{"broken": ', *good[200:]]) + b"\n"
    rejects = folder / "rejects.jsonl"
    done = kdguard(
        "score", "-", "--format", "jsonl", "--baseline", str(folder / "baseline.safetensors"), "--json",
        "--rejects", str(rejects), stdin=log,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr.decode()
    summary = json.loads(done.stdout.splitlines()[-1])["summary"]
    assert summary["exchanges"] == 400
    assert summary["rejected_lines"] == 1
    assert json.loads(rejects.read_text())["line"] == 201
    assert b"1 lines could not be read" in done.stderr


def test_late_exchanges_are_left_out_alike_by_any_cut_of_the_log(folder: Path, tmp_path: Path) -> None:
    """In order of time nothing is late; an account's rows of its first hour, sent at the end, are."""
    rows = [orjson.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]
    rows.sort(key=lambda row: (row["time"], row["request_id"]))
    name = max({row["account_id"] for row in rows}, key=[row["account_id"] for row in rows].count)
    first = [row for row in rows if row["account_id"] == name][:5]
    late = [row for row in rows if row not in first] + first
    whole, (one, two) = tmp_path / "late.jsonl", (tmp_path / "late-1.jsonl", tmp_path / "late-2.jsonl")
    for path, part in ((whole, late), (one, late[:700]), (two, late[700:])):
        path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in part))

    def run(*arguments: str) -> list[bytes]:
        done = kdguard("score", *arguments, "--baseline", str(folder / "baseline.safetensors"), "--json")
        assert done.returncode in {0, 1}, done.stderr.decode()
        return done.stdout.splitlines()

    bounded = run(str(whole), "--lateness", "1")
    summary = json.loads(bounded[-1])["summary"]
    assert (summary["late_exchanges"], summary["exchanges"]) == (5, len(rows) - 5)
    assert run(str(one), str(two), "--lateness", "1")[:-1] == bounded[:-1]
    assert run(str(whole), "--lateness", "1", "--workers", "2")[:-1] == bounded[:-1]
    assert json.loads(run(str(whole))[-1])["summary"]["late_exchanges"] is None


def test_formats_that_join_records_have_no_order_of_arrival(folder: Path) -> None:
    log = Path(__file__).resolve().parents[2] / "fixtures" / "logs" / "openai-batch.input.jsonl"
    baseline = str(folder / "baseline.safetensors")
    done = kdguard("score", str(log), "--baseline", baseline, "--lateness", "1")
    assert done.returncode == 2
    assert b"leave out --lateness" in done.stderr


def test_without_a_baseline_nothing_goes_beyond_review(folder: Path) -> None:
    done = kdguard("score", str(folder / "log.jsonl"), "--json")
    assert done.returncode == 0, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    assert {line["guarantee_state"] for line in lines} == {"uncalibrated"}
    assert "flag" not in {line["decision"] for line in lines}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", b"empty"),
        (b"\x00\xff\xfejunk\n" * 9, b"log.jsonl"),
        (b'{"no": "account"}\n', b"no exchange was found"),
    ],
    ids=["empty", "junk", "other records"],
)
def test_a_file_with_no_readable_line_is_an_error(tmp_path: Path, content: bytes, said: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    done = kdguard("score", str(path), "--format", "jsonl")
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--rejects", "--ocsf", "--report"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, option: str) -> None:
    place = str(tmp_path / "nowhere" / "file")
    for given in (place, str(tmp_path)):
        run = kdguard("score", "no-such-log.jsonl", option, given)
        assert run.returncode == 2
        assert given.encode() in run.stderr
        assert b"make the folder first" in run.stderr


def test_an_internal_error_shows_no_prompt(folder: Path) -> None:
    done = kdguard("score", str(folder / "log.jsonl"), "--baseline", str(folder / "accounts.csv"))
    assert done.returncode == 2
    assert b"kdguard baseline" in done.stderr


def test_one_account_with_very_many_requests_and_many_accounts_with_one(tmp_path: Path, folder: Path) -> None:
    """A small stand-in for the sizes of the issue: the code path is the same, `make bench` has the large ones."""
    path = tmp_path / "log.jsonl"
    with path.open("wb") as out:
        for at in range(30_000):
            account = "whale" if at % 2 else f"minnow-{at}"
            row = {
                "request_id": f"r{at}",
                "time": 1_790_000_000 + at,
                "account_id": account,
                "prompt": f"hello {at % 97}",
            }
            out.write(orjson.dumps(row) + b"\n")
    done = kdguard("score", str(path), "--baseline", str(folder / "baseline.safetensors"), "--json")
    assert done.returncode in {0, 1}, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["summary"]["accounts"] == 15_001
    assert lines[-1]["summary"]["decisions"]["abstain"] == 15_000
    whale = next(line for line in lines[:-1] if line["subject"]["id"] == "whale")
    assert whale["requests"] == 15_000


def test_help_lists_the_promised_commands() -> None:
    said = kdguard("--help").stdout.decode()
    assert all(
        name in said for name in ("demo", "inspect", "baseline", "score", "convert", "simulate", "evaluate")
    )


def test_simulated_logs_read_back(folder: Path) -> None:
    table = pa.Table.from_batches(month_with_thieves().exchanges)
    done = kdguard("inspect", str(folder / "log.jsonl"), "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert str(table.num_rows) in done.stdout.decode()
