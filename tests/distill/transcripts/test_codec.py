"""Packed rows give back the trace, and stay within their bits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdguard.distill.transcripts.bits import pack_halves, pack_integers, unpack_halves, unpack_integers
from kdguard.distill.transcripts.codec import PACKED, pack, unpack
from kdguard.errors import TranscriptError
from kdguard.exchanges.tokens import TokenTrace
from tests.exchanges.made_traces import traces


def stored(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it comes back from Arrow, absent values as nulls."""
    return {name: row.get(name) for name in PACKED.names}


@settings(deadline=None)
@given(hnp.arrays(np.int32, st.integers(0, 70), elements=st.integers(0, 2**31 - 1)))
def test_integers_survive(values: npt.NDArray[np.int32]) -> None:
    packed, bits = pack_integers(values)
    assert bits == max([int(v).bit_length() for v in values], default=0)
    assert len(packed) == bits * -(-len(values) // 8)
    np.testing.assert_array_equal(unpack_integers(packed, bits, len(values)), values)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 2**32 - 1))
def test_halves_survive_with_any_runs(widths: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(-3, 4, sum(widths)).astype(np.float16).astype(np.float32)
    runs = np.array(widths, np.int32)
    np.testing.assert_array_equal(unpack_halves(pack_halves(values, runs), runs), values)
    np.testing.assert_array_equal(unpack_halves(pack_halves(values)), values)


def test_halves_keep_the_ends_of_the_scale() -> None:
    given = np.array([0.0, -1e-12, 3e-9, -9999.0, -1e9, -np.inf, -7.123], np.float32)
    found = unpack_halves(pack_halves(given))
    assert found[0] == 0
    assert found[1] < 0 < found[2], "what is not zero must not become zero"
    assert np.isfinite(found[4])
    assert found[5] == -np.inf
    np.testing.assert_allclose(found[[3, 6]], given[[3, 6]], rtol=2**-11)


@settings(deadline=None, max_examples=200)
@given(traces(exact=True))
def test_a_trace_survives(trace: TokenTrace) -> None:
    assert unpack(stored(pack("r", 1, trace))) == trace


@settings(deadline=None)
@given(traces())
def test_log_probabilities_are_rounded_to_half_precision_only(trace: TokenTrace) -> None:
    again = unpack(stored(pack("r", 1, trace)))
    np.testing.assert_allclose(again.logprob, trace.logprob, rtol=2**-11, atol=6e-8)
    if trace.top_logprobs is not None and again.top_logprobs is not None:
        np.testing.assert_allclose(again.top_logprobs, trace.top_logprobs, rtol=2**-11, atol=6e-8)
    exact: dict[str, Any] = dict.fromkeys(("top_logprobs", "tail_mass"))
    exact["logprob"] = np.zeros(len(trace), np.float32)
    assert dataclasses.replace(again, **exact) == dataclasses.replace(trace, **exact)


def test_ids_take_the_bits_of_the_vocabulary() -> None:
    t, k, v = 64, 20, 151_936
    ids = np.random.default_rng(0).integers(0, v, (t, k)).astype(np.int32)
    zeros = np.zeros((t, k), np.float32)
    trace = TokenTrace(token_bytes=(b"x",) * t, logprob=zeros[:, 0], top_ids=ids, top_logprobs=zeros)
    row = pack("r", 0, trace)
    assert row["top_ids_bits"] == 18  # ceil(log2 v)
    assert len(row["top_ids"]) == 18 * t * k // 8
    assert len(row["top_logprobs"]) == 2 * t * k
    assert "widths" not in row


def test_rising_ids_are_kept_as_differences() -> None:
    draws = TokenTrace(
        token_bytes=(b"x",) * 3,
        logprob=np.zeros(3, np.float32),
        top_ids=np.array([[5, 7, 500], [0, -1, -1], [499, 501, -1]]),
        sampled_counts=np.array([[1, 2, 1], [4, 0, 0], [3, 1, 0]]),
    )
    row = stored(pack("r", 0, draws))
    assert row["top_ids_rise"]
    assert unpack_integers(row["top_ids"], row["top_ids_bits"], 6).tolist() == [6, 2, 493, 1, 500, 2]
    assert unpack(row) == draws


def test_an_empty_choice_survives() -> None:
    trace = TokenTrace(token_bytes=(), logprob=np.empty(0, np.float32), token_id=np.empty(0, np.int32))
    assert unpack(stored(pack("r", 0, trace))) == trace


def test_damage_and_nonsense_are_named() -> None:
    trace = TokenTrace(
        token_bytes=(b"a", b"b"), logprob=np.zeros(2, np.float32), top_ids=np.array([[1], [2]])
    )
    row = stored(pack("req-7", 0, trace))
    with pytest.raises(TranscriptError, match="req-7, choice 0: the packed row is damaged"):
        unpack(row | {"top_ids": row["top_ids"] + b"x"})
    with pytest.raises(TranscriptError, match="req-7"):
        unpack(row | {"positions": 3})
    with pytest.raises(TranscriptError, match="token_id must be -1 or more"):
        pack("r", 0, dataclasses.replace(trace, token_id=np.array([-5, 1])))
    with pytest.raises(TranscriptError, match="sampled_counts must be 1 or more before the pads"):
        pack("r", 0, dataclasses.replace(trace, sampled_counts=np.array([[0], [1]])))
