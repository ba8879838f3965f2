"""What the base install can do, and what it says where an extra is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from kdguard.cli import EXTRAS
from tests.lineage.made import table

_RUN = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Nothing())
sys.argv = ["kdguard", *{arguments!r}]
from kdguard.cli import main
main()
"""


def without_extras(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where no package of any extra can be imported."""
    missing = [name for names in EXTRAS.values() for name in names]
    code = _RUN.format(missing=missing, arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_lineage_of_stored_answers_needs_no_extra(tmp_path: Path) -> None:
    table(prompts=10, controls=20).to_csv(tmp_path / "responses.csv", index=False)
    (tmp_path / "families.toml").write_text('[a]\nmembers = ["teacher-a"]\nvendor = "north"\n')
    names = [f"control-{at:03d}" for at in range(20)]
    listed = pd.DataFrame({"teacher_family": "a", "control": names, "kind": "student_pool"})
    listed.to_csv(tmp_path / "controls.csv", index=False)
    files = [f"--{name}={tmp_path / file}" for name, file in _FILES.items()]
    done = without_extras(
        "lineage", "test", *files, "--suspect=student", "--family=a", "--alpha=0.05", "--json"
    )
    assert done.returncode in {0, 1}, done.stderr
    assert '"teacher_family":"a"' in done.stdout


_FILES = {"responses": "responses.csv", "families": "families.toml", "controls": "controls.csv"}


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("serve",), "service"),
        (("teacher", "serve", "."), "service"),
        (("distill", "evaluate", ".", "--teacher", ".", "--out", "never"), "distill"),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, arguments: tuple[str, ...], extra: str) -> None:
    done = without_extras(*arguments)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'kdguard[{extra}]'" in done.stderr
    assert "internal error" not in done.stderr
