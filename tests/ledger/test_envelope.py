"""Envelopes and canonical JSON: one spelling, and nothing else opens."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.errors import LedgerError, RefusedError
from kdguard.ledger.canonical import canonical, parse
from kdguard.ledger.envelope import open_sealed, seal
from kdguard.ledger.keys import Generation, create_keys

KIND = "application/vnd.kdguard.test+json"


@pytest.fixture
def generation(tmp_path: Path) -> Generation:
    return create_keys(tmp_path / "keys").current


def test_seal_and_open(generation: Generation) -> None:
    envelope = seal({"b": [1, 0.5], "a": "ü"}, KIND, generation.private)
    assert open_sealed(envelope, KIND, generation.public) == {"a": "ü", "b": [1, 0.5]}
    assert base64.b64decode(envelope["payload"]) == '{"a":"ü","b":[1,0.5]}'.encode()


def test_every_altered_byte_of_the_envelope_is_refused(generation: Generation) -> None:
    envelope = seal({"p": 1e-9}, KIND, generation.private)
    written = orjson.dumps(envelope)
    for place in range(len(written)):
        for mask in (1, 2, 32):
            altered = bytearray(written)
            altered[place] ^= mask
            try:
                read = orjson.loads(bytes(altered))
            except orjson.JSONDecodeError:
                continue
            with pytest.raises(RefusedError):
                open_sealed(read, KIND, generation.public)


def test_the_wrong_key_or_kind_is_refused(generation: Generation, tmp_path: Path) -> None:
    envelope = seal({}, KIND, generation.private)
    with pytest.raises(RefusedError, match="not by key"):
        open_sealed(envelope, KIND, create_keys(tmp_path / "other").current.public)
    with pytest.raises(RefusedError, match="must hold one"):
        open_sealed(envelope, "text/plain", generation.public)
    with pytest.raises(RefusedError, match="32 bytes"):
        open_sealed(envelope, KIND, b"short")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aé\U0001f600~", max_size=3), inner),
    max_leaves=8,
)


@given(json_values)
@settings(max_examples=100)
def test_canonical_json_survives_a_round_trip(value: Any) -> None:
    written = canonical(value)
    assert canonical(parse(written)) == written
    assert parse(written) == value


@pytest.mark.parametrize(
    "document",
    [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":2}', b"1.0", b"[1]\n", b"{", b"NaN", b"\xff", b""],
)
def test_any_other_spelling_is_refused(document: bytes) -> None:
    with pytest.raises(LedgerError, match="JSON"):
        parse(document)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60])
def test_what_json_cannot_say(value: Any) -> None:
    with pytest.raises(LedgerError, match="plain JSON"):
        canonical({"p": value})


def test_nesting_is_bounded() -> None:
    with pytest.raises(LedgerError, match="JSON"):
        parse(b"[" * 100_000 + b"]" * 100_000)
