"""A bundle verifies as it is, elsewhere, and in no other way."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.audit.bundle import BUNDLE_TYPE, sign_case
from kdguard.audit.case import read_case, write_case
from kdguard.audit.verification import verify_bundle
from kdguard.errors import InputError, LedgerError, RefusedError
from kdguard.ledger.canonical import canonical, parse
from kdguard.ledger.entries import revocation, rotation
from kdguard.ledger.envelope import seal
from kdguard.ledger.keys import create_keys, rotate_keys
from kdguard.ledger.log import append, open_ledger, read_head
from tests.audit.made_case import NAME, NOW, Made, make_case


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_case(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def bundle(made: Made) -> bytes:
    return sign_case(made.case, made.keys, made.ledger, NOW)


def _statement(bundle: bytes) -> Any:
    return parse(base64.b64decode(parse(bundle)["envelope"]["payload"]))


def _resealed(made: Made, statement: Any) -> bytes:
    envelope = seal(statement, BUNDLE_TYPE, made.keys.current.private)
    return canonical({"public": made.keys.current.public.hex(), "envelope": envelope})


def test_a_bundle_verifies_and_finds_the_account(made: Made, bundle: bytes) -> None:
    signer = made.keys.current.signer_id
    head = made.ledger.heads[0]
    verified = verify_bundle(bundle, trust=[signer], ledger=made.ledger, published=[head])
    assert (verified.signer, verified.trusted, verified.test) == (signer, True, "canary.account")
    assert verified.result[0]["subject"] == "acme"
    assert verified.result[0]["guarantee"] == "randomised"
    assert verified.result[0]["p_value"] < 1e-9
    assert verified.committed == (("acme", "2026-11-28T12:00:00Z", head.time, head.root.hex()),)
    assert not verify_bundle(bundle).trusted


def test_every_altered_byte_is_refused(bundle: bytes) -> None:
    """Every byte once, each by one bit (which one depends on the place); no chance is involved."""
    for place in range(len(bundle)):
        altered = bytearray(bundle)
        altered[place] ^= 1 << place % 8
        with pytest.raises(RefusedError):
            verify_bundle(bytes(altered))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_other_bytes_are_refused(bundle: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(bundle)))
    stop = data.draw(st.integers(start, min(start + 40, len(bundle))))
    middle = data.draw(st.binary(max_size=20))
    altered = bundle[:start] + middle + bundle[stop:]
    if altered != bundle:
        with pytest.raises(RefusedError):
            verify_bundle(altered)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            yield from _leaves(inner, (*path, name))
    else:
        yield path


def _alter(statement: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(statement)
    place = changed
    for name in path[:-1]:
        place = place[name]
    told = place[path[-1]]
    if isinstance(told, str):
        place[path[-1]] = ("b" if told[:1] == "a" else "a") + told[1:]
    else:
        place[path[-1]] = 1 if told is None else told + 1
    return changed


# What only the signature vouches for: nothing else could show these to be other than they were.
_SIGNATURE_ALONE = ("created", "versions", "null_hypothesis")


def test_even_the_signer_cannot_alter_a_field(made: Made, bundle: bytes) -> None:
    """Every field of the statement, altered and signed again by the right key."""
    statement = _statement(bundle)
    unnoticed: set[tuple[Any, ...]] = set()
    for path in _leaves(statement):
        try:
            verify_bundle(_resealed(made, _alter(statement, path)))
        except RefusedError:
            continue
        unnoticed.add(path)
    excused = {
        path
        for path in unnoticed
        if path[0] in _SIGNATURE_ALONE or path[:2] == ("case", "inputs") or path[:3] == ("case", "keys", 0)
    }
    assert {path for path in unnoticed - excused if path[:3] != ("case", "statistics", "seen")} == set()
    assert {path[-1] for path in unnoticed if path[:3] == ("case", "keys", 0)} <= {3}
    assert verify_bundle(_resealed(made, statement))


def test_only_the_keys_of_the_case_are_revealed(made: Made, bundle: bytes) -> None:
    statement = canonical(_statement(bundle)).decode()
    current = made.keys.current
    other = current.derive(dataclasses.replace(NAME, account="other"))
    assert current.derive(NAME).key.reveal().hex() in statement
    for secret in (current.master, current.signing, other.key, other.salt):
        assert secret.reveal().hex() not in statement
        assert secret.reveal() not in bundle


def test_signers(made: Made, bundle: bytes, tmp_path: Path) -> None:
    stranger = create_keys(tmp_path / "keys").current
    envelope = seal(_statement(bundle), BUNDLE_TYPE, stranger.private)
    forged = canonical({"public": stranger.public.hex(), "envelope": envelope})
    with pytest.raises(RefusedError, match="not among those to be trusted"):
        verify_bundle(forged, trust=[made.keys.current.signer_id])
    with pytest.raises(RefusedError, match="ledger does not know"):
        verify_bundle(forged, ledger=made.ledger)


def test_heads_that_were_not_published(made: Made, bundle: bytes, tmp_path: Path) -> None:
    elsewhere = append(tmp_path / "ledger", [], made.keys.current, NOW)
    with pytest.raises(RefusedError, match="not published"):
        verify_bundle(bundle, published=elsewhere.heads)
    with pytest.raises(RefusedError, match="not in the ledger"):
        verify_bundle(bundle, ledger=elsewhere)


def test_rotation_and_revocation(tmp_path: Path) -> None:
    made = make_case(tmp_path)
    old_bundle = sign_case(made.case, made.keys, made.ledger, NOW)
    store = rotate_keys(made.keys.directory)
    new = store.current
    announced = rotation(new.signer_id, new.public, new.number, NOW)
    ledger = append(made.ledger.directory, [announced], made.keys.current, NOW)
    new_bundle = sign_case(made.case, store, ledger, NOW)
    both = [generation.signer_id for generation in store.generations]
    assert verify_bundle(new_bundle, trust=both, ledger=ledger).signer == new.signer_id

    ledger = append(ledger.directory, [revocation(both[0], "laptop lost", NOW)], new, NOW)
    with pytest.raises(RefusedError, match="laptop lost"):
        verify_bundle(old_bundle, ledger=ledger)
    assert verify_bundle(new_bundle, ledger=ledger)
    key_id = made.keys.current.derive(NAME).key_id
    ledger = append(ledger.directory, [revocation(key_id, "shown too early", NOW)], new, NOW)
    with pytest.raises(LedgerError, match="shown too early"):
        sign_case(made.case, store, open_ledger(ledger.directory), NOW)
    assert key_id in ledger.revoked()


def test_keys_that_were_not_committed_are_not_signed_for(made: Made) -> None:
    absent = dataclasses.replace(made.case, keys=((dataclasses.replace(NAME, account="new"), 1),))
    with pytest.raises(LedgerError, match="committed before it is used"):
        sign_case(absent, made.keys, made.ledger, NOW)
    retuned = dataclasses.replace(made.case, parameters={**made.case.parameters, "recall": 0.2})
    with pytest.raises(LedgerError, match="other parameters"):
        sign_case(retuned, made.keys, made.ledger, NOW)


def test_inputs_are_compared(made: Made, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_bytes(b"{}\n")
    told = {"name": answers.name, "sha256": hashlib.sha256(b"{}\n").hexdigest(), "bytes": 3}
    case = dataclasses.replace(made.case, inputs=(told,))
    bundle = sign_case(case, made.keys, made.ledger, NOW)
    assert verify_bundle(bundle, inputs=[answers]).inputs == ("answers.jsonl",)
    answers.write_bytes(b"{} \n")
    with pytest.raises(RefusedError, match="not one of the files"):
        verify_bundle(bundle, inputs=[answers])


def test_cases_on_disk(made: Made, tmp_path: Path) -> None:
    write_case(made.case, tmp_path / "case.json")
    assert read_case(tmp_path / "case.json") == made.case
    for content in (b"[]", b"{}", b'{"kind":"kdguard.case","schema_version":9}', b"no"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.json"):
            read_case(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": "canary.unheard"}, "no test"),
        ({"version": "0"}, "must be version 0"),
        ({"statistics": {"sites": 3}}, "cannot use|not those"),
    ],
)
def test_cases_that_cannot_be_run(made: Made, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sign_case(dataclasses.replace(made.case, **change), made.keys, made.ledger, NOW)


def test_heads_travel_as_json(made: Made) -> None:
    assert read_head(made.ledger.heads[0].as_json()) == made.ledger.heads[0]
