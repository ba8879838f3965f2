"""Logs at the two ends of what there is, at a size that tests can bear; tests/bench/extremes.py has the full ones."""

from __future__ import annotations

import numpy as np
import pytest

import kdguard
from kdguard.detectors.query_patterns.technique_rate import TechniqueRate
from kdguard.features.session import Rows
from kdguard.scan import State, follow
from kdguard.verdict import Decision
from tests.bench.extremes import exchanges
from tests.detectors.rows import random_rows
from tests.scoring.worlds import small_baseline

ROWS = 20_000


def test_many_accounts_with_one_request_all_abstain() -> None:
    findings = kdguard.score(exchanges("one-each", ROWS), small_baseline())
    assert len(findings.verdicts) == findings.summary["exchanges"] == ROWS
    assert {verdict.decision for verdict in findings.verdicts} == {Decision.ABSTAIN}


def test_one_account_with_many_requests_is_one_verdict() -> None:
    (verdict,) = kdguard.score(exchanges("one-account", ROWS), small_baseline()).verdicts
    assert verdict.requests == ROWS
    assert verdict.p_value is not None


def test_accounts_too_short_for_a_score_take_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    update = TechniqueRate.update

    def watched(self: TechniqueRate, state: State, rows: Rows) -> State:
        grown = update(self, state, rows)
        kept.append(len(grown))
        return grown

    monkeypatch.setattr(TechniqueRate, "update", watched)
    light, heavy = random_rows(1, accounts=200, requests=9), random_rows(2, accounts=1, requests=12)
    rows = [light, heavy] if light.subject[-1] < heavy.subject[0] else [heavy, light]
    found = list(follow(rows, [TechniqueRate()]))
    assert np.concatenate([part.subject for part in found]).tolist() == [heavy.subject[0]]
    assert max(kept) == 1
