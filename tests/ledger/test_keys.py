"""Keys: private on disk, derived apart, never shown."""

from __future__ import annotations

import pickle
import stat
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdguard.errors import LedgerError
from kdguard.ledger.derivation import KeyName, derive
from kdguard.ledger.keys import create_keys, open_keys, place_of_keys, rotate_keys
from kdguard.ledger.secret import Secret

MASTER = Secret(bytes(range(32)))


def test_modes(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "keys", *(tmp_path / "keys").rglob("*"))
    }
    assert modes == {
        "keys": 0o700,
        "keys/0001": 0o700,
        "keys/0001/master.key": 0o600,
        "keys/0001/signing.key": 0o600,
    }


@pytest.mark.parametrize("place", ["", "0001", "0001/master.key", "0001/signing.key"])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, place: str) -> None:
    create_keys(tmp_path / "keys")
    opened = tmp_path / "keys" / place
    opened.chmod(opened.stat().st_mode | 0o040)
    with pytest.raises(LedgerError, match="owner's alone"):
        open_keys(tmp_path / "keys")


def test_lost_and_damaged_keys(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    create_keys(directory)
    rotate_keys(directory)
    (directory / "0002" / "master.key").write_bytes(b"short")
    with pytest.raises(LedgerError, match="must hold 32 bytes, holds 5"):
        open_keys(directory)
    (directory / "0002" / "master.key").unlink()
    with pytest.raises(LedgerError, match="missing; restore"):
        open_keys(directory)
    (directory / "0002" / "signing.key").unlink()
    (directory / "0002").rmdir()
    with pytest.raises(LedgerError, match=r"generation 2 is not here \(it has 1\)"):
        open_keys(directory).generation(2)


def test_a_store_is_never_overwritten(tmp_path: Path) -> None:
    before = create_keys(tmp_path / "keys").current.master
    with pytest.raises(LedgerError, match="rotate"):
        create_keys(tmp_path / "keys")
    assert open_keys(tmp_path / "keys").current.master == before


def test_rotation_keeps_old_keys(tmp_path: Path) -> None:
    name = KeyName("canary", "acme", "2026-11")
    old = create_keys(tmp_path / "keys").current.derive(name)
    store = rotate_keys(tmp_path / "keys")
    assert store.current.number == 2
    assert store.current.derive(name).key != old.key
    assert store.generation(1).derive(name).key == old.key
    assert len({generation.signer_id for generation in store.generations}) == 2


def test_where_keys_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDGUARD_KEYS", raising=False)
    with pytest.raises(LedgerError, match="--keys DIR or set KDGUARD_KEYS"):
        place_of_keys(None)
    monkeypatch.setenv("KDGUARD_KEYS", str(tmp_path))
    assert place_of_keys(None) == tmp_path
    assert place_of_keys(Path("given")) == Path("given")
    with pytest.raises(LedgerError, match="no key store is there"):
        open_keys(tmp_path / "absent")


names = st.builds(KeyName, st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))


@given(names, names)
def test_different_names_never_share_a_key(one: KeyName, other: KeyName) -> None:
    left, right = derive(MASTER, one), derive(MASTER, other)
    assert (left.key == right.key) == (one == other)
    assert (left.key_id == right.key_id) == (one == other)


def test_derivation_is_fixed_for_good() -> None:
    """A change here would orphan every mark ever made."""
    derived = derive(MASTER, KeyName("canary", "acme", "2026-11"))
    assert derived.key_id == "e83aa59078e0521daf4fed41f8de5761"
    assert derived.key_digest == "02f0d327f8c370c70040662d901b45fa0c97a3776fbb7ccb7c4d75d574d3e088"


def test_secrets_do_not_show() -> None:
    derived = derive(MASTER, KeyName("canary", "acme", "2026-11"))
    secret_hex, secret = derived.key.reveal().hex(), derived.key.reveal()
    try:
        raise ValueError(f"{derived} {derived.key!s} {[derived.salt]!r}")
    except ValueError as error:
        shown = "".join(traceback.format_exception(error))
    assert "hidden" in shown
    assert secret_hex not in shown
    assert repr(secret)[2:-1] not in shown
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(derived.key)
    with pytest.raises(TypeError):
        hash(derived.key)
