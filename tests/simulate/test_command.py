from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from kdguard.cli.simulate import app


def test_traffic_writes_the_promised_folder(tmp_path: Path) -> None:
    world = tmp_path / "small.toml"
    world.write_text("owners = 4\ndays = 2\nvolume_cap = 20\n")
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["traffic", str(world), "--out", str(out), "--seed", "5"], env={"KDGUARD_DATA": ""}
    )
    assert result.exit_code == 0, result.output
    names = {
        "exchanges.parquet",
        "log.jsonl",
        "accounts.csv",
        "labels_accounts.parquet",
        "labels_requests.parquet",
    }
    assert {path.name for path in out.iterdir()} == names | {"manifest.json"}
    manifest = json.loads((out / "manifest.json").read_text())
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert manifest["seed"] == 5
    assert manifest["schema_version"] == 1
    assert manifest["counts"]["exchanges"] == len(lines)
    first = json.loads(lines[0])
    assert {"request_id", "time", "account_id", "model", "prompt", "status", "tools"} <= first.keys()
    assert first["time"].endswith("Z")


def test_bad_usage_exits_with_two(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["traffic", "nowhere", "--out", str(tmp_path / "x")]).exit_code == 2
    assert (
        runner.invoke(app, ["traffic", "tiny", "--out", str(tmp_path / "x"), "--split", "all"]).exit_code == 2
    )
