"""Ties between owners on hand-made signals: what they propose, and what they refuse to believe."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kdguard.detectors.query_patterns.coordination import TIES
from kdguard.detectors.query_patterns.coordination.options import Options
from kdguard.detectors.query_patterns.coordination.pivot import Pivot
from kdguard.detectors.query_patterns.coordination.same_minutes import SameMinutes
from kdguard.detectors.query_patterns.coordination.succession import Succession, cut_off
from kdguard.features.signals import FLAGS, SIGNALS
from kdguard.scoring.facts import Facts, gather
from kdguard.scoring.groups import form
from kdguard.scoring.groups.form import weigh_pairs
from kdguard.scoring.groups.habits import habits_of
from kdguard.scoring.groups.rarity import learn_rarity
from kdguard.scoring.groups.ties import Pairs, Scene, Tie
from kdguard.scoring.groups.traces import Traces
from kdguard.scoring.spill import Spill

MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
START_US = 20_000 * DAY_US
OLD, NEW = 11, 22


@dataclass(frozen=True)
class Request:
    """One half-0 request; fields not named are as of an ordinary one."""

    who: str
    minute: int
    model: int = OLD
    flags: int = 0


def facts_of(names: Sequence[str]) -> Facts:
    return gather(np.array(sorted(set(names)), dtype=object), np.zeros(len(set(names)), np.uint64), None)


def signals(requests: Sequence[Request], facts: Facts) -> pa.RecordBatch:
    subject = dict(zip(facts.account_id.tolist(), facts.subject.tolist(), strict=True))
    rows: list[dict[str, Any]] = [
        {field.name: 0 for field in SIGNALS}
        | {
            "subject": subject[one.who],
            "account_id": one.who,
            "time_us": START_US + one.minute * MINUTE_US,
            "request_id": f"r{at}",
            "has_text": True,
            "half": False,
            "signs": bytes(16),
            "text": at + 1,
            "model": one.model,
            "flags": one.flags,
        }
        for at, one in enumerate(requests)
    ]
    return pa.RecordBatch.from_pylist(rows, SIGNALS)


@contextmanager
def scene(requests: Sequence[Request]) -> Iterator[tuple[Scene, dict[str, int]]]:
    """The log judged by itself, and the row of each owner."""
    facts = facts_of([one.who for one in requests])
    with Spill() as spill:
        spill.write(signals(requests, facts))
        spill.seal()
        with Traces([spill.folder], facts) as traces:
            habits = habits_of(traces)
            rarity = learn_rarity(traces, habits, np.empty(0, np.uint64))
            node = dict(zip(facts.account_id.tolist(), habits.node.tolist(), strict=True))
            yield Scene(traces, habits, rarity), node


def pair(node: dict[str, int], one: str, other: str, owners: int) -> Pairs:
    return Pairs.of(np.array([node[one]]), np.array([node[other]]), owners)


def holds(pairs: Pairs, node: dict[str, int], one: str, other: str) -> bool:
    low, high = sorted((node[one], node[other]))
    return bool(((pairs.source == low) & (pairs.target == high)).any())


def crowd(rng: np.random.Generator, owners: int = 60) -> list[Request]:
    """Honest owners at moments of their own, over twenty days."""
    return [
        Request(f"honest-{who}", int(minute))
        for who in range(owners)
        for minute in rng.integers(0, 20 * 1_440, 12)
    ]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_common_bursts_tie_and_common_hours_do_not(rng: np.random.Generator) -> None:
    bursts = [int(m) for m in rng.integers(0, 20 * 1_440, 6)]
    nightly = [day * 1_440 + 540 for day in range(20)]
    log = crowd(rng)
    log += [Request(who, minute) for who in ("thief-a", "thief-b") for minute in bursts]
    log += [Request(who, minute) for who in ("cron-a", "cron-b") for minute in nightly]
    with scene(log) as (seen, node):
        tie, owners = SameMinutes(), len(seen.habits)
        assert holds(tie.propose(seen), node, "thief-a", "thief-b")
        assert tie.weigh(seen, pair(node, "thief-a", "thief-b", owners))[0] == pytest.approx(6.0)
        assert tie.weigh(seen, pair(node, "cron-a", "cron-b", owners))[0] < 1.0


def test_two_long_jobs_that_overlap_once_have_met_once(rng: np.random.Generator) -> None:
    log = crowd(rng) + [Request(who, 5_000 + minute) for who in ("job-a", "job-b") for minute in range(60)]
    with scene(log) as (seen, node):
        assert SameMinutes().weigh(seen, pair(node, "job-a", "job-b", len(seen.habits)))[0] == 0.0


def test_a_pivot_is_a_move_of_nearly_everything(rng: np.random.Generator) -> None:
    release = 10 * 1_440
    log = crowd(rng)
    log += [Request(f"slow-{who}", release + who, NEW) for who in range(5)]
    log += [Request(f"slow-{who}", release + 1_440 * day) for who in range(5) for day in (-2, 3, 4, 5, 6)]
    for who in ("mover-a", "mover-b"):
        log += [Request(who, 1_440 * day) for day in (1, 2, 3)]
        log += [Request(who, release + 1_440 * day, NEW) for day in (2, 3, 4)]
    with scene(log) as (seen, node):
        pairs = Pivot().propose(seen)
        assert holds(pairs, node, "mover-a", "mover-b")
        assert len(pairs) == 1
        assert Pivot().weigh(seen, pairs)[0] > 2.0


def test_options_of_few_customers_tie(rng: np.random.Generator) -> None:
    asks = FLAGS["logprobs"]
    log = crowd(rng)
    log += [Request(who, minute, flags=asks) for who in ("a", "b") for minute in (7, 70, 700)]
    log += [Request("once", 3, flags=asks)] + [Request("once", minute) for minute in (30, 300, 3_000)]
    with scene(log) as (seen, node):
        pairs = Options().propose(seen)
        assert holds(pairs, node, "a", "b")
        assert not holds(pairs, node, "a", "once")


def test_a_successor_of_a_banned_account_is_looked_at(rng: np.random.Generator) -> None:
    ban = 8 * 1_440
    log = crowd(rng)
    log += [Request("old", minute) for minute in range(0, ban, 1_000)]
    log += [Request("old", ban + 5, flags=FLAGS["blocked"])]
    log += [Request("new", ban + 600 + minute) for minute in range(0, 10_000, 1_000)]
    log += [Request("late", ban + 4 * 1_440 + minute) for minute in range(0, 9_000, 1_000)]
    with scene(log) as (seen, node):
        cut = cut_off(seen)
        assert np.flatnonzero(cut).tolist() == [node["old"]]
        tie, owners = Succession(), len(seen.habits)
        assert holds(tie.propose(seen), node, "old", "new")
        assert not holds(tie.propose(seen), node, "old", "late")
        assert tie.weigh(seen, pair(node, "old", "new", owners))[0] > 2.5
        assert tie.weigh(seen, pair(node, "old", "late", owners))[0] == 0.0


def test_the_order_of_ends_and_beginnings_matters(rng: np.random.Generator) -> None:
    log = crowd(rng)
    log += [Request("first", minute) for minute in (9_000, 9_500)]
    log += [Request("second", minute) for minute in (9_400, 9_900)]
    with scene(log) as (seen, node):
        assert Succession().weigh(seen, pair(node, "first", "second", len(seen.habits)))[0] == 0.0
        assert not len(Succession().propose(seen))


def test_how_many_pairs_are_weighed_together_changes_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bursts = [int(minute) for minute in rng.integers(0, 20 * 1_440, 6)]
    ring = [Request(f"ring-{who}", minute, flags=FLAGS["logprobs"]) for who in range(8) for minute in bursts]
    met = [Request(who, minute) for who in ("met-a", "met-b") for minute in bursts[:3]]
    with scene(crowd(rng) + ring + met) as (seen, _):
        whole, by_tie = weigh_pairs(seen, TIES)
        monkeypatch.setattr(form, "_PAIRS_AT_ONCE", 5)
        parts, part_by_tie = weigh_pairs(seen, TIES)
        heavy, _ = weigh_pairs(seen, TIES, least=7.0)
    assert len(whole) > 25
    assert np.array_equal(by_tie, part_by_tie)
    assert np.array_equal(whole.source, parts.source)
    assert np.array_equal(whole.target, parts.target)
    assert 0 < len(heavy) == np.sum(by_tie.sum(axis=1) >= 7.0) < len(whole)


@pytest.mark.parametrize("tie", TIES, ids=lambda tie: tie.name)
def test_ties_survive_a_log_without_coincidences(tie: Tie) -> None:
    log = [Request(f"lone-{who}", 100 * who + minute) for who in range(4) for minute in (0, 20_000)]
    with scene(log) as (seen, _):
        pairs = tie.propose(seen)
        assert tie.weigh(seen, pairs).shape == (len(pairs),)
        assert (tie.weigh(seen, Pairs(np.array([0]), np.array([1]))) >= 0).all()


def test_a_folder_may_be_called_anything(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'Anna\'s "logs"'
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with scene(crowd(rng, 5)) as (_, node):
        assert len(node) == 5
