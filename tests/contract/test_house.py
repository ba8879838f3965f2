"""The shape of the house: layers, packages, what an import costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_layers_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_every_package_on_disk_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    places = {
        "kdguard": ROOT / "kdguard",
        "kdguard.detectors": ROOT / "detectors",
        "kdguard.service": ROOT / "service",
    }
    found = {
        ".".join([name, *file.parent.relative_to(folder).parts])
        for name, folder in places.items()
        for file in folder.rglob("__init__.py")
        if name != "kdguard" or file.relative_to(folder).parts[0] not in {"detectors", "service"}
    }
    assert listed == found


def test_import_is_light() -> None:
    code = "import sys, json, kdguard; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.check_output([sys.executable, "-c", code], text=True)))
    assert not loaded & {
        "torch",
        "transformers",
        "fastapi",
        "sklearn",
        "duckdb",
        "pyarrow",
        "kdguard.detectors",
    }


def test_the_base_install_takes_neither_torch_nor_fastapi() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [
        need for need in project["dependencies"] if need.startswith(("torch", "transformers", "fastapi"))
    ]


def test_constraints_are_exact_and_name_no_host() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    assert all("==" in line and "://" not in line and "@" not in line for line in lines)
    assert "torch==2.13.0" in lines
