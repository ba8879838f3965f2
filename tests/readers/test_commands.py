"""`inspect` and `convert` as a user meets them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner

from kdguard.cli.abilities import REQUIREMENTS
from kdguard.cli.convert import convert
from kdguard.cli.inspect import inspect
from kdguard.exchanges.schema import EXCHANGES
from kdguard.exchanges.store import write
from kdguard.readers import read, summary
from tests.readers.log_samples import LOGS, rows_of

app = typer.Typer()
app.command("inspect")(inspect)
app.command("convert")(convert)
RUN = CliRunner(env={"COLUMNS": "100"})
FLAT = LOGS / "jsonl.jsonl"


def test_requirements_name_columns() -> None:
    assert {column for _, groups, _ in REQUIREMENTS for group in groups for column in group} <= set(
        EXCHANGES.names
    )


def test_inspect_fits_one_screen(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_bytes(FLAT.read_bytes() + b'{"account_id": "a", "prompt": "x", "time": "never"}\n{"broken\n')
    done = RUN.invoke(app, ["inspect", str(mixed)])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    for said in ("jsonl", "prompt 100%", "must be RFC 3339", "mixed.jsonl:4", "technique"):
        assert said in done.stdout


def test_inspect_json_tells_what_would_abstain() -> None:
    done = RUN.invoke(app, ["inspect", "--json", str(LOGS / "vertex.jsonl")])
    told = orjson.loads(done.stdout)
    assert told["formats"] == {"vertex": 2}
    assert told["unattributed"] == 2
    verdict = told["detectors"][0]
    assert (verdict["state"], verdict["usable"]) == ("abstains", 0)
    assert "--account" in verdict["note"]


def test_inspect_counts_exchanges_by_file_and_by_format(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_bytes(FLAT.read_bytes() + b'{"account_id": "a", "prompt": "x", "time": "never"}\n{"broken\n')
    joined = [LOGS / "openai-batch.input.jsonl", LOGS / "openai-batch.output.jsonl"]
    parquet = tmp_path / "x.parquet"
    write(read([FLAT]), parquet)
    paths = [str(path) for path in (mixed, *joined, parquet)]
    told = orjson.loads(RUN.invoke(app, ["inspect", "--json", *paths]).stdout)
    files = {Path(entry["file"]).name: entry for entry in told["files"]}
    assert list(files) == [
        "mixed.jsonl",
        "openai-batch.input.jsonl",
        "openai-batch.output.jsonl",
        "x.parquet",
    ]
    flat = len(rows_of(read([FLAT])))
    assert (files["mixed.jsonl"]["exchanges"], files["mixed.jsonl"]["rejected"]) == (flat, 2)
    assert (files["x.parquet"]["format"], files["x.parquet"]["exchanges"]) == ("parquet", flat)
    batch = sum(files[path.name]["exchanges"] for path in joined)
    assert batch == told["formats"]["openai-batch"]
    assert sum(entry["exchanges"] for entry in told["files"]) == told["exchanges"]
    shown = RUN.invoke(app, ["inspect", *paths]).stdout
    assert "mixed.jsonl" in shown
    assert "openai-batch.output.jsonl" in shown


def test_inspect_says_which_claims_the_floor_rules_out() -> None:
    told = orjson.loads(RUN.invoke(app, ["inspect", "--json", str(FLAT)]).stdout)
    assert [claim["possible"] for claim in told["claims"]] == [False, False]
    shown = " ".join(RUN.invoke(app, ["inspect", str(FLAT)]).stdout.split())
    assert "ruled out" in shown
    assert "needs 124 references" in shown


def test_inspect_lists_what_other_distributions_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "acme_sinker-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-sinker\nVersion: 1.2\n")
    lines = "[kdguard.detectors]\nsinker = acme_sinker:Sinker\n[kdguard.tests]\nfloat = builtins:float\n"
    (info / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(tmp_path)
    done = RUN.invoke(app, ["inspect", "--json", str(FLAT)])
    assert done.exit_code == 0
    brought = {entry["name"]: entry for entry in orjson.loads(done.stdout)["third_party"]}
    assert {entry["distribution"] for entry in brought.values()} == {"acme-sinker 1.2"}
    assert brought["float"]["state"] == "found"
    assert brought["sinker"]["state"] == "broken"
    assert "No module named 'acme_sinker'" in brought["sinker"]["note"]
    assert "acme-sinker 1.2" in RUN.invoke(app, ["inspect", str(FLAT)]).stdout


def test_convert_and_read_back(tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    done = RUN.invoke(app, ["convert", str(FLAT), str(LOGS / "openai.jsonl"), "--to", str(out), "--json"])
    assert done.exit_code == 0
    assert orjson.loads(done.stdout)["exchanges"] == 8
    assert rows_of(read([out])) == rows_of(read([FLAT, LOGS / "openai.jsonl"]))


@pytest.mark.parametrize("arguments", [["inspect"], ["convert", "--to", "{out}"]])
@pytest.mark.parametrize("content", [b"", b"junk\n", None])
def test_unreadable_input_is_exit_2(arguments: list[str], content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    if content is not None:
        path.write_bytes(content)
    filled = [argument.format(out=tmp_path / "out.parquet") for argument in arguments]
    done = RUN.invoke(app, [*filled, str(path)])
    assert done.exit_code == 2
    assert "in.jsonl" in done.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_many_accounts_are_estimated_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_MOST_ACCOUNTS", 500)
    found = summary.Summary()
    batch = next(read([FLAT]))
    names = [f"a{i}" for i in range(4_000)]
    for name in names:
        found._follow(name, 3)
    found.add(batch)
    assert not found.accounts_exact
    assert found.accounts == pytest.approx(4_000, rel=0.3)
    assert sum(found.histogram().values()) == found.accounts
