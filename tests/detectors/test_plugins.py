"""Detectors and tests of other distributions: one file and one line of metadata."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from kdguard.cli.session import open_baseline
from kdguard.detectors import ALL, default_suite, plugins
from kdguard.detectors.shipped import SHIPPED
from kdguard.errors import BaselineError, PluginError
from kdguard.scoring.store import load_baseline
from tests.detectors.rows import random_rows

GOOD = """
from dataclasses import dataclass
from kdguard.scan import Column, Detector

@dataclass(frozen=True)
class Sinker(Detector):
    name = "sinker"
    outputs = ("share",)
    resolution = (0.1,)
    requires = ("temperature",)

    @property
    def columns(self):
        return (Column("rows", "int64"), Column("greedy", "int64"))

    def observe(self, rows):
        return {"rows": rows.time_us * 0 + 1, "greedy": rows.flag("greedy").astype("int64")}

    def scores(self, state):
        return state.columns["greedy"] / state.columns["rows"]

    def explain(self, output, score):
        return f"{score:.0%} of requests are greedy"

def compare(responses, families):
    return ()
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the path, as pip would."""

    def put(code: str = GOOD, target: str = "acme_sinker:Sinker", group: str = "kdguard.detectors") -> None:
        info = tmp_path / "acme_sinker-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-sinker\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{group}]\nsinker = {target}\n")
        (tmp_path / "acme_sinker.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)

    yield put
    sys.modules.pop("acme_sinker", None)


def test_without_plugins_the_suite_is_what_kdguard_ships() -> None:
    assert [type(detector) for detector in default_suite().detectors] == list(ALL)


def test_a_detector_joins_the_suite_with_the_least_weight_of_any(install: Install) -> None:
    install()
    suite = default_suite()
    assert suite.outputs[-1] == "sinker.share"
    assert suite.weights["sinker.share"] == min(default_suite(third_party=False).weights.values()) > 0
    detector = suite.detectors[-1]
    state = detector.update(detector.create(), random_rows(1, accounts=3, requests=20))
    assert detector.scores(state).reshape(-1).shape == (3,)
    assert np.isfinite(detector.scores(state)).all()


def test_the_shipped_baseline_still_serves_and_others_say_what_is_missing(install: Install) -> None:
    install()
    assert "sinker.share" not in open_baseline(None).suite.outputs
    with pytest.raises(BaselineError, match=r"it does not know 'sinker'.*kdguard baseline"):
        load_baseline(SHIPPED, default_suite())


@pytest.mark.parametrize(
    ("code", "target", "said"),
    [
        ("import nothing_of_the_kind", "acme_sinker:Sinker", "No module named 'nothing_of_the_kind'"),
        (GOOD, "acme_sinker:Absent", "Absent"),
        (GOOD, "acme_sinker:compare", "must be a kdguard.scan.Detector class"),
        (GOOD.replace("@dataclass(frozen=True)", ""), "acme_sinker:Sinker", "must be a frozen dataclass"),
        (GOOD.replace("def scores", "def other"), "acme_sinker:Sinker", "abstract"),
        (GOOD.replace("(0.1,)", "()"), "acme_sinker:Sinker", "as many resolutions as outputs"),
        (GOOD.replace('"sinker"', '"tempo"'), "acme_sinker:Sinker", "'tempo' is taken"),
    ],
)
def test_a_broken_detector_is_an_error_that_names_its_distribution(
    install: Install, code: str, target: str, said: str
) -> None:
    install(code, target)
    with pytest.raises(PluginError) as raised:
        default_suite()
    assert "acme-sinker 1.2" in str(raised.value)
    assert said in str(raised.value)
    assert "uninstall" in str(raised.value)


def test_tests_are_found_by_name(install: Install) -> None:
    install(target="acme_sinker:compare", group="kdguard.tests")
    assert [(item.name, item.distribution) for item in plugins.found(plugins.TESTS)] == [
        ("sinker", "acme-sinker 1.2")
    ]
    assert plugins.tests()["sinker"]([], []) == ()
    assert default_suite().outputs == default_suite(third_party=False).outputs


def test_a_test_must_be_a_function(install: Install) -> None:
    install("number = 3", "acme_sinker:number", "kdguard.tests")
    with pytest.raises(PluginError, match=r"acme-sinker 1\.2.*must be a function"):
        plugins.tests()
