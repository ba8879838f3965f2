"""The filter keeps its budget, and the plan can be read again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kdguard.detectors.canary.gateway import Tally, account_filter
from kdguard.detectors.canary.planning import Budget, commitments, plan_epoch, read_plan, write_plan
from kdguard.errors import CanaryError
from kdguard.ledger.canonical import canonical
from kdguard.ledger.keys import create_keys
from kdguard.ledger.merkle import leaf_hash
from tests.audit.made_case import NOW
from tests.detectors.canary.made_plan import RESPONSE, make_plan


def test_the_budget_is_kept_at_every_moment(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, rewrite_share=0.0)
    marker, tally, placed = account_filter(plan, keys, "a1"), Tally(), Counter[str]()
    for number in range(4_000):
        done = marker.place(tally, f"r{number}", "Tell me about bread and tides.", RESPONSE)
        tally = done.tally
        placed.update([done.site_id] if done.site_id else [])
        assert (done.response == RESPONSE) == (done.site_id is None)
        assert placed.total() <= plan.budget.share * (number + 1)
    assert placed == Counter(tally.insertions)
    assert tally.responses == 4_000
    assert placed.total() >= 18
    assert max(placed.values()) == plan.budget.repetitions


def test_where_a_mark_stands_tells_nothing_of_the_reply(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, rewrite_share=0.0)
    marker = account_filter(plan, keys, "a1")
    other = replace(marker, replies=tuple(tuple(0 for _ in reply) for reply in marker.replies))
    left, right = Tally(), Tally()
    for number in range(1_000):
        one = marker.place(left, f"r{number}", "bread", RESPONSE)
        two = other.place(right, f"r{number}", "bread", RESPONSE)
        left, right = one.tally, two.tally
        assert one.site_id == two.site_id


def test_rewriting_needs_no_budget(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path)
    texts = {
        account_filter(plan, keys, account).place(Tally(), "r", "bread", RESPONSE).response
        for account in plan.marked
    }
    assert len(texts) > 1
    assert all("bread rises because yeast makes gas" in text.casefold() for text in texts)


def test_a_plan_is_read_again_with_its_keys_only(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path)
    entries = commitments(plan, keys, NOW)
    path = tmp_path / "canaries.parquet"
    assert write_plan(plan, keys, entries, path) == sum(plan.marked.values())
    assert read_plan(path, keys) == plan
    table = pq.read_table(path)
    assert table.column_names == ["site_id", "account_id", "epoch", "family", "cue", "reply_digest", "leaf"]
    assert set(table["leaf"].to_pylist()) == {leaf_hash(canonical(entry)).hex() for entry in entries}
    assert len(set(table["reply_digest"].to_pylist())) == table.num_rows
    with pytest.raises(CanaryError, match="other keys"):
        read_plan(path, create_keys(tmp_path / "other").current)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(CanaryError, match="canary plan"):
        read_plan(path, keys)


def test_small_accounts_are_not_marked(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys").current
    budget = Budget(share=0.005, repetitions=5)
    plan = plan_epoch(keys, "e", {"big": 10_000, "small": 999}, budget)
    assert dict(plan.marked) == {"big": 10}
    assert plan.parameters["accounts"] == 1
    with pytest.raises(CanaryError, match="not marked in epoch e"):
        account_filter(plan, keys, "small")
    with pytest.raises(CanaryError, match="1,000 requests"):
        plan_epoch(keys, "e", {"small": 999}, budget)


@pytest.mark.parametrize("budget", [{"share": 0.2}, {"share": 0.0}, {"rewrite_share": 2.0}, {"most": 3}])
def test_impossible_budgets(budget: dict[str, float]) -> None:
    with pytest.raises(CanaryError, match="must be"):
        Budget(**budget)  # type: ignore[arg-type]
