"""Logs at the two ends of what there is, at a size that tests can bear; tests/bench/extremes.py has the full ones."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import kdguard
from kdguard.detectors.query_patterns.technique_rate import TechniqueRate
from kdguard.exchanges.schema import from_rows
from kdguard.features.session import Rows
from kdguard.scan import State, follow
from kdguard.scoring import sorting
from kdguard.scoring.epochs import score_log
from kdguard.scoring.spill import Spill
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import World
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


def test_names_may_be_of_any_length_and_differ_in_a_nul_only() -> None:
    """A caller who gets to choose a name must not thereby choose how much memory all the others take."""
    names = ["a", "a\0", "\U0001f600", "\uffff", "z" * 1_000_000, *(f"b{at:03d}" for at in range(300))]
    log = [
        from_rows(
            [{"request_id": f"r{at}", "account_id": name, "prompt": "p"} for at, name in enumerate(names)]
        )
    ]
    baseline = small_baseline()
    tracemalloc.start()
    findings = kdguard.score(log, baseline)
    told = [verdict.id for verdict in findings.verdicts]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told == sorted(names)
    assert peak < 200 << 20


def test_scores_do_not_depend_on_how_accounts_are_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("slices", 60, volume_median=20, volume_cap=150)
    month = simulate(world, seed=5)
    found = []
    for rows_a_mb in (sorting._ROWS_A_MB, 2):
        monkeypatch.setattr(sorting, "_ROWS_A_MB", rows_a_mb)
        with Spill() as kept:
            scores, _ = score_log(month.exchanges, small_baseline(), kept, accounts=month.accounts)
            found.append((len(sorting.slices(kept.folder)), scores))
    (one, whole), (many, sliced) = found
    assert (one, many > 4) == (1, True)
    for name in (
        "p_value",
        "p_pooled",
        "p_floor",
        "score",
        "first_alarm",
        "p_by_checkpoint",
        "shown",
        "outputs",
    ):
        assert np.array_equal(getattr(whole, name), getattr(sliced, name), equal_nan=True), name
    assert np.array_equal(whole.contributions, sliced.contributions)
    assert whole.kind.tolist() == sliced.kind.tolist()
    assert whole.drift == sliced.drift
    assert np.isfinite(whole.p_value).sum() > 30


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
