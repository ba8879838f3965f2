"""The terminal table fits, says why, and cannot be repainted by an id."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from kdguard.report.terminal import render_table
from kdguard.verdict import Decision, Findings, GuaranteeState
from tests.report.made_findings import HOSTILE, make_findings


def printed(findings: Findings, width: int = 100, *, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, color_system="256" if colour else None
    )
    render_table(findings, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_fits(findings: Findings, width: int) -> None:
    assert max(len(line) for line in printed(findings, width).splitlines()) <= min(width, 100)


def test_says_what_an_analyst_asks(findings: Findings) -> None:
    text = " ".join(printed(findings).split())
    assert "26 accounts and 1 group need a person\u2019s decision" in text
    assert "◆ c-1 0.0025 31 212" in text
    assert "selected at a false discovery rate of 10 % among everything scored." in text
    assert "a contract permits training on outputs" in text
    assert "--json or --report lists them all" in text
    assert f"Expect about {findings.summary['expected_innocent_reviews']:.1f} innocent accounts" in text
    assert HOSTILE[:20] in text
    assert "clean" not in text.lower()


def test_an_id_cannot_style_or_move_the_terminal(findings: Findings) -> None:
    verdicts = tuple(
        dataclasses.replace(v, id=f"[red]\x1b[2J\r\u202e{i}", clusters=())
        for i, v in enumerate(findings.verdicts)
    )
    text = printed(dataclasses.replace(findings, verdicts=verdicts))
    assert "\x1b" not in text
    assert "\r" not in text
    assert r"[red]\u001b[2J" in text


@pytest.mark.parametrize(
    ("state", "words"),
    [(GuaranteeState.SUSPENDED, "guarantee is suspended"), (GuaranteeState.UNCALIBRATED, "shipped baseline")],
)
def test_a_weaker_guarantee_is_said_first(findings: Findings, state: GuaranteeState, words: str) -> None:
    summary = dict(findings.summary) | {"guarantee_state": state.value}
    lines = printed(dataclasses.replace(findings, summary=summary)).splitlines()
    assert words in " ".join(lines[:4])
    assert "Were the guarantee in force" in " ".join(lines)


def test_nothing_found_is_an_absence_of_evidence(findings: Findings) -> None:
    quiet = tuple(v for v in findings.verdicts if v.decision in (Decision.CLEAR, Decision.ABSTAIN))
    text = printed(dataclasses.replace(findings, verdicts=quiet))
    assert "That is an absence of evidence, not a proof." in text
    assert "Accounts " not in text
