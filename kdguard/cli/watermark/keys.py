"""Where a mark and its key come from: the ledger's own keys, or a file of numbers for marks of other software."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kdguard.errors import LedgerError, WatermarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdguard.cli.watermark.options import Named
    from kdguard.detectors.watermark.keys import MarkKey
    from kdguard.detectors.watermark.mark import Mark
    from kdguard.ledger.derivation import DerivedKey, KeyName


class Asked(NamedTuple):
    """A key, and where it comes from.

    Attributes:
        key: The key.
        name: What the ledger derives it for; None for a key of other software.
        generation: Number of its master key; 0 for a key of other software.
        committed: A ledger says that it was committed to before its first use.
    """

    key: MarkKey
    name: KeyName | None = None
    generation: int = 0
    committed: bool = False


def mark_of(named: Named) -> Mark:
    """The mark that options describe: a file, or a scheme with `name=value` parameters.

    Raises:
        WatermarkError: Neither or both are given, or a parameter is not a number.
    """
    from kdguard.detectors.watermark.mark import Mark, read_mark
    from kdguard.detectors.watermark.schemes.registry import SCHEMES

    if (named.mark is None) == (named.scheme is None):
        raise WatermarkError(f"give --mark FILE, or --scheme with one of {', '.join(SCHEMES)}")
    if named.mark is not None:
        if named.parameters:
            raise WatermarkError(f"{named.mark} holds the parameters; --parameter goes with --scheme")
        return read_mark(named.mark)
    return Mark.of({"scheme": named.scheme} | dict(_parameter(told) for told in named.parameters or ()))


def key_of(mark: Mark, named: Named) -> Asked:
    """The key that options name.

    Raises:
        WatermarkError: Not exactly one way is given, or the file does not hold whole numbers.
        LedgerError: The key store or ledger cannot be used, or the ledger has no such commitment.
    """
    from kdguard.detectors.watermark.keys import foreign_key

    if named.key_file is not None:
        if named.epoch or named.ledger:
            raise WatermarkError("--epoch and --ledger go with keys of the key store, not with --key-file")
        return Asked(foreign_key(_numbers(named.key_file)))
    if named.epoch is None:
        raise WatermarkError("give --key-file FILE, or --epoch (and --account) of a key in the key store")
    return _from_store(mark, named, named.epoch)


def _from_store(mark: Mark, named: Named, epoch: str) -> Asked:
    from kdguard.detectors.watermark.keys import derived_key
    from kdguard.detectors.watermark.mark import LEDGER_SCHEME
    from kdguard.ledger.derivation import KeyName
    from kdguard.ledger.keys import open_keys, place_of_keys

    store = open_keys(place_of_keys(named.keys))
    name = KeyName(LEDGER_SCHEME, named.account, epoch)
    derived = store.current.derive(name)
    if named.ledger is not None:
        derived = _committed(mark, named.ledger, [old.derive(name) for old in store.generations[::-1]])
    key = derived_key(derived.key.reveal(), mark.scheme.key_words, mark.scheme.key_bits)
    return Asked(key, name, derived.generation, committed=named.ledger is not None)


def _committed(mark: Mark, ledger: Path, derived: Sequence[DerivedKey]) -> DerivedKey:
    """Of one key of each generation, newest first, the one that was committed: old marks outlive a rotation."""
    from kdguard.ledger.entries import reveal_fits
    from kdguard.ledger.log import open_ledger

    read = open_ledger(ledger)
    known = {key.key_id: key for key in derived}
    entry = next((one for one in read.commitments() if one["key_id"] in known), None)
    if entry is None:
        raise LedgerError(
            f"{ledger}: no signed entry commits to this key; it must be committed before it is used, with "
            "'kdguard audit commit'"
        )
    key = known[entry["key_id"]]
    if key.key_id in read.revoked():
        raise WatermarkError(f"key {key.key_id[:16]} is revoked: {read.revoked()[key.key_id]}")
    if not reveal_fits(entry, key.name, key.key.reveal(), key.salt.reveal(), mark.parameters()):
        raise WatermarkError(
            f"{ledger}: the commitment to key {key.key_id[:16]} was made with other parameters than this mark's"
        )
    return key


def _numbers(path: Path) -> list[int]:
    """Whole numbers of a key file, decimal or 0x…, between blanks or commas."""
    try:
        told = path.read_text(encoding="ascii").replace(",", " ").split()
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise WatermarkError(f"{path}: others can read the key; run chmod 600 on it")
        return [int(number, 0) for number in told]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, WatermarkError):
            raise
        # the number itself is a secret: it is not repeated
        raise WatermarkError(f"{path}: must hold the key as whole numbers, decimal or 0x…") from None


def _parameter(told: str) -> tuple[str, float | int]:
    name, _, value = told.partition("=")
    try:
        return name, float(value) if any(mark in value for mark in ".eE") else int(value)
    except ValueError:
        raise WatermarkError(f"--parameter must be NAME=NUMBER, got '{told}'") from None
