"""Small parts of the figures whose mistakes would not show in a test of the page."""

from __future__ import annotations

import pytest

from kdguard.report.graph import draw
from kdguard.report.plots import MAX_NODES, ClusterGraph, Timeline
from kdguard.report.strips import activity, axis_labels
from kdguard.report.svg import Scale, element, ticks
from kdguard.report.techniques import TECHNIQUES, lookup, name_of
from kdguard.report.words import p_words, time_words, visible


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.2, 7.1, [-2.0, 0.0, 2.0, 4.0, 6.0]),
        (5.0, 5.0, [5.0]),
        (float("nan"), 1.0, []),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_scale_clamps() -> None:
    scale = Scale(0.0, 10.0, 100.0, 200.0)
    assert [scale(v) for v in (-5.0, 0.0, 5.0, 99.0)] == [100.0, 100.0, 150.0, 200.0]
    assert Scale(1.0, 1.0, 0.0, 10.0)(1.0) == 5.0


def test_elements_escape() -> None:
    assert element("text", "<b>", class_='"x"') == '<text class="&#34;x&#34;">&lt;b&gt;</text>'


def test_alarm_outside_the_bins_is_left_out() -> None:
    timeline: Timeline = {
        "unit": "day",
        "start": "2026-10-01T00:00:00Z",
        "accounts": [
            {
                "account": "a",
                "requests": [3, 0, 4],
                "suspicious": [1, 0, 4],
                "first_alarm": "2026-10-02T12:00:00Z",
            },
            {"account": "b", "requests": [3, 0, 4], "suspicious": None, "first_alarm": "2026-12-01T00:00:00"},
        ],
    }
    first, second = (activity(row, timeline) for row in timeline["accounts"])
    assert 'x1="1.5"' in first.figure
    assert first.total == "5 of 7"
    assert "alarm" not in second.figure
    assert second.total == "7"
    assert [label for _, label in axis_labels(timeline)] == ["01 Oct", "02 Oct", "03 Oct"]


def test_big_and_odd_clusters_can_be_drawn() -> None:
    big: ClusterGraph = {
        "id": "c",
        "nodes": [{"id": f"a{i}"} for i in range(1_000)],
        "attributes": [{"kind": "card", "hash": "ff", "weight": 9.0, "members": range(1_000)}],
    }
    assert draw(big).note == f"{1_000 - MAX_NODES} accounts not drawn"
    tied: ClusterGraph = {
        "id": "t",
        "nodes": [{"id": "a"}, {"id": "b"}, {"id": "c"}],
        "edges": [{"source": 0, "target": 1, "kind": "shards of one list", "weight": 4.0}],
    }
    drawing = draw(tied)
    assert drawing.shared[0].kind == "shards of one list"
    assert drawing.shared[0].by == "1 pair"
    assert draw(tied).figure == drawing.figure
    assert draw({"id": "one", "nodes": [{"id": "a"}]}).figure


def test_ids_have_published_names() -> None:
    assert name_of("AML.T0024.002") == "Extract AI Model"
    assert name_of("AML.T9999") == "AML.T9999"
    assert lookup("LLM10") == lookup("LLM10:2025")
    assert all(t.catalogue.version and t.name for t in TECHNIQUES.values())


def test_words() -> None:
    assert visible("a\u2028b\x1b") == r"a\u2028b\u001b"
    assert len(visible("x" * 500)) == 120
    assert [p_words(p) for p in (None, 0.5, 0.00044, 1e-7)] == ["\u2013", "0.5", "0.00044", "1.0e-07"]
    assert time_words("2026-11-02T09:14:33.5+01:00") == "2026-11-02 09:14 +01:00"
    assert time_words(None) == "time unknown"
