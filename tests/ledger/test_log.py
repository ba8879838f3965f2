"""The ledger on disk: append-only, signed, and it says so when it is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from kdguard.errors import LedgerError, RefusedError
from kdguard.ledger import merkle
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.entries import commitment, reveal_fits, revocation, rotation
from kdguard.ledger.keys import KeyStore, create_keys, rotate_keys
from kdguard.ledger.log import Ledger, append, open_ledger, read_head

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NAME = KeyName("canary", "acme", "2026-11")


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return create_keys(tmp_path / "keys")


def _commit(directory: Path, keys: KeyStore, accounts: range) -> Ledger:
    derived = (keys.current.derive(KeyName("canary", f"a{number}", "2026-11")) for number in accounts)
    return append(directory, [commitment(key, {"sites": 8}, NOW) for key in derived], keys.current, NOW)


def test_append_and_read_back(tmp_path: Path, keys: KeyStore) -> None:
    _commit(tmp_path / "ledger", keys, range(5))
    written = _commit(tmp_path / "ledger", keys, range(5, 9))
    ledger = open_ledger(tmp_path / "ledger")
    assert ledger == written
    assert [head.size for head in ledger.heads] == [6, 10]
    assert ledger.entry(0)["kind"] == "rotation"

    index = ledger.find("key_id", keys.current.derive(KeyName("canary", "a2", "2026-11")).key_id)
    head = ledger.first_head(index)
    assert (index, head.size) == (3, 6)
    proof = ledger.inclusion(index, head)
    assert merkle.verify_inclusion(ledger.leaves[index], index, head.size, proof, head.root)


def test_a_commitment_fits_one_key_account_and_parameters_only(keys: KeyStore) -> None:
    derived = keys.current.derive(NAME)
    entry = commitment(derived, {"sites": 8}, NOW)
    key, salt = derived.key.reveal(), derived.salt.reveal()
    assert reveal_fits(entry, NAME, key, salt, {"sites": 8})
    assert not reveal_fits(entry, KeyName("canary", "other", "2026-11"), key, salt, {"sites": 8})
    assert not reveal_fits(entry, KeyName("canary", "acme", "2026-12"), key, salt, {"sites": 8})
    assert not reveal_fits(entry, NAME, bytes(32), salt, {"sites": 8})
    assert not reveal_fits(entry, NAME, key, bytes(16), {"sites": 8})
    assert not reveal_fits(entry, NAME, key, salt, {"sites": 9})
    assert not reveal_fits({**entry, "kind": "revocation"}, NAME, key, salt, {"sites": 8})


def test_entries_tell_neither_account_nor_key(tmp_path: Path, keys: KeyStore) -> None:
    derived = keys.current.derive(NAME)
    append(tmp_path / "ledger", [commitment(derived, {}, NOW)], keys.current, NOW)
    written = b"".join(path.read_bytes() for path in (tmp_path / "ledger").iterdir())
    for hidden in (derived.key, derived.salt, keys.current.master, keys.current.signing):
        assert hidden.reveal() not in written
        assert hidden.reveal().hex().encode() not in written
    assert b"acme" not in written


@pytest.mark.parametrize("line", range(6))
def test_a_changed_entry_is_noticed(tmp_path: Path, keys: KeyStore, line: int) -> None:
    _commit(tmp_path / "ledger", keys, range(5))
    entries = tmp_path / "ledger" / "entries.jsonl"
    lines = entries.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"', b" ", 1)
    entries.write_bytes(b"".join(lines))
    with pytest.raises(LedgerError, match="changed or removed"):
        open_ledger(tmp_path / "ledger")


def test_a_removed_entry_or_head_is_noticed(tmp_path: Path, keys: KeyStore) -> None:
    for number in range(3):
        _commit(tmp_path / "ledger", keys, range(number, number + 1))
    for name, message in (("entries.jsonl", "changed or removed"), ("heads.jsonl", "does not append")):
        path = tmp_path / "ledger" / name
        kept = path.read_bytes()
        path.write_bytes(b"".join(kept.splitlines(keepends=True)[1:]))
        with pytest.raises(LedgerError, match=message):
            open_ledger(tmp_path / "ledger")
        path.write_bytes(kept)
    assert open_ledger(tmp_path / "ledger").heads[-1].size == 4


def test_history_cannot_be_rewritten_behind_a_published_head(tmp_path: Path, keys: KeyStore) -> None:
    published = _commit(tmp_path / "ledger", keys, range(3)).heads[0]
    rewritten = _commit(tmp_path / "other", keys, range(10, 16)).heads[0]
    for proof in (rewritten.proof, published.proof, ()):
        assert not merkle.verify_consistency(
            published.size, published.root, rewritten.size, rewritten.root, proof
        )


def test_an_interrupted_write_costs_only_itself(tmp_path: Path, keys: KeyStore) -> None:
    _commit(tmp_path / "ledger", keys, range(2))
    with (tmp_path / "ledger" / "entries.jsonl").open("ab") as file:
        file.write(b'{"kind":"comm')
    assert len(open_ledger(tmp_path / "ledger").lines) == 3
    assert len(_commit(tmp_path / "ledger", keys, range(2, 3)).lines) == 4
    assert len(open_ledger(tmp_path / "ledger").lines) == 4


def test_rotation_and_revocation_stand_in_the_ledger(tmp_path: Path, keys: KeyStore) -> None:
    _commit(tmp_path / "ledger", keys, range(1))
    newer = rotate_keys(keys.directory)
    old, new = newer.generation(1), newer.current
    with pytest.raises(LedgerError, match="does not know signing key"):
        append(tmp_path / "ledger", [], new, NOW)
    announced = rotation(new.signer_id, new.public, new.number, NOW)
    append(tmp_path / "ledger", [announced], old, NOW)
    old_signer = old.signer_id
    ledger = append(tmp_path / "ledger", [revocation(old_signer, "laptop lost", NOW)], new, NOW)
    kinds = [ledger.entry(index)["kind"] for index in range(len(ledger.lines))]
    assert kinds == ["rotation", "commitment", "rotation", "revocation"]
    assert open_ledger(tmp_path / "ledger").revoked() == {old_signer: "laptop lost"}
    with pytest.raises(LedgerError, match="reason"):
        revocation(old_signer, " ", NOW)


def test_what_was_not_committed_is_not_found(tmp_path: Path, keys: KeyStore) -> None:
    ledger = _commit(tmp_path / "ledger", keys, range(1))
    with pytest.raises(LedgerError, match="committed before it is used"):
        ledger.find("key_id", "00" * 16)
    with pytest.raises(LedgerError, match="audit commit"):
        open_ledger(tmp_path / "absent")


def test_heads_are_refused_when_altered(tmp_path: Path, keys: KeyStore) -> None:
    head = _commit(tmp_path / "ledger", keys, range(1)).heads[0]
    assert read_head(orjson.loads(orjson.dumps(head.as_json()))) == head
    other = create_keys(tmp_path / "other").current
    altered: Any
    for altered in ({**head.as_json(), "public": other.public.hex()}, {"envelope": {}}, [], None):
        with pytest.raises(RefusedError):
            read_head(altered)


def test_a_key_is_committed_once(tmp_path: Path, keys: KeyStore) -> None:
    _commit(tmp_path / "ledger", keys, range(2))
    with pytest.raises(LedgerError, match="committed already; use another epoch"):
        _commit(tmp_path / "ledger", keys, range(1, 3))
    assert len(open_ledger(tmp_path / "ledger").lines) == 3
