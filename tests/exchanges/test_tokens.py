"""Traces refuse what does not fit together, and survive the way to the table and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.errors import TranscriptError
from kdguard.exchanges.token_table import table_to_traces, traces_to_table
from kdguard.exchanges.tokens import TOKENS, TokenTrace
from tests.exchanges.made_traces import traces

TWO = TokenTrace(
    token_bytes=(b"Par", b"is"),
    logprob=np.array([-0.1, -0.2]),
    top_ids=np.array([[7, 9], [8, -1]]),
    top_bytes=((b"Par", b"Lon"), (b"is", b"")),
    top_logprobs=np.array([[-0.1, -2.5], [-0.2, -np.inf]]),
    tail_mass=np.array([0.01, 0.2]),
)


def test_every_column_says_what_it_means() -> None:
    assert all((field.metadata or {}).get(b"meaning") for field in TOKENS)
    assert (TOKENS.metadata or {})[b"schema_version"] == b"1"


@settings(deadline=None, max_examples=60)
@given(st.lists(traces(), min_size=1, max_size=4))
def test_the_table_gives_back_the_traces_in_any_row_order(made: list[TokenTrace]) -> None:
    keyed = [(f"r{i // 2}", i % 2, trace) for i, trace in enumerate(made)]
    table = traces_to_table(keyed)
    order = np.random.default_rng(len(made)).permutation(table.num_rows)
    again = list(table_to_traces(table.take(order)))
    assert again == keyed


def test_pads_stay_out_of_the_table() -> None:
    rows = traces_to_table([("r", 0, TWO)]).to_pylist()
    assert [row["top_ids"] for row in rows] == [[7, 9], [8]]
    assert [row["top_bytes"] for row in rows] == [[b"Par", b"Lon"], [b"is"]]
    assert rows[0]["token_id"] is None
    assert rows[1]["position"] == 1


def test_equality_looks_at_every_array() -> None:
    other = TokenTrace(token_bytes=TWO.token_bytes, logprob=TWO.logprob)
    assert other != TWO
    assert other == TokenTrace(token_bytes=(b"Par", b"is"), logprob=np.array([-0.1, -0.2], np.float32))
    assert (other == "trace") is False


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"logprob": np.zeros(3)}, r"logprob must have shape \(2,\), got \(3,\)"),
        ({"top_ids": np.zeros(2)}, "top_ids must have shape"),
        ({"top_logprobs": np.zeros((1, 4))}, r"shape \(2, 4\), got \(1, 4\)"),
        ({"top_ids": np.zeros((2, 3)), "sampled_counts": np.zeros((2, 4))}, r"\(2, 3\), got \(2, 4\)"),
        ({"top_bytes": ((b"a",),)}, "2 tuples of length 1"),
        ({"sampled_counts": np.ones((2, 1))}, "need the ids"),
        ({"logprob": np.array([0.0, np.nan])}, "logprob must hold no NaN"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(wrong: dict[str, object], said: str) -> None:
    values = {"token_bytes": (b"a", b"b"), "logprob": np.zeros(2)} | wrong
    with pytest.raises(TranscriptError, match=said):
        TokenTrace(**values)  # type: ignore[arg-type]


def test_tables_with_gaps_are_refused() -> None:
    table = traces_to_table([("r", 0, TWO), ("s", 0, TWO)])
    with pytest.raises(TranscriptError, match=r"without a gap or repeat, got .*'s'.*'position': 1"):
        list(table_to_traces(table.take(pa.array([0, 1, 3]))))
    with pytest.raises(TranscriptError, match="without a gap or repeat"):
        list(table_to_traces(table.take(pa.array([0, 0, 1]))))
    with pytest.raises(TranscriptError, match="must have the columns"):
        list(table_to_traces(table.drop_columns(["tail_mass"])))
    short = table.set_column(7, "top_bytes", pa.array([[b"Par"]] * 4, pa.list_(pa.binary())))
    with pytest.raises(TranscriptError, match="equal length"):
        list(table_to_traces(short))
    assert list(table_to_traces(table.slice(0, 0))) == []
