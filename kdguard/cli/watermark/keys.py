"""Where a mark and its key come from: the ledger's own keys, or a file of numbers for marks of other software."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kdguard.errors import WatermarkError

if TYPE_CHECKING:
    from kdguard.detectors.watermark.keys import MarkKey
    from kdguard.detectors.watermark.mark import Mark


class Asked(NamedTuple):
    """A key, and whether a ledger says that it was committed to before its first use."""

    key: MarkKey
    committed: bool


def mark_of(mark: Path | None, scheme: str | None, parameters: list[str]) -> Mark:
    """The mark that options describe: a file, or a scheme with `name=value` parameters.

    Raises:
        WatermarkError: Neither or both are given, or a parameter is not a number.
    """
    from kdguard.detectors.watermark.mark import Mark, read_mark
    from kdguard.detectors.watermark.schemes.registry import SCHEMES

    if (mark is None) == (scheme is None):
        raise WatermarkError(f"give --mark FILE, or --scheme with one of {', '.join(SCHEMES)}")
    if mark is not None:
        if parameters:
            raise WatermarkError(f"{mark} holds the parameters; --parameter goes with --scheme")
        return read_mark(mark)
    return Mark.of({"scheme": scheme} | dict(_parameter(told) for told in parameters))


def key_of(
    mark: Mark,
    *,
    key_file: Path | None,
    keys: Path | None,
    account: str,
    epoch: str | None,
    ledger: Path | None,
) -> Asked:
    """The key that options name.

    Raises:
        WatermarkError: Not exactly one way is given, or the file does not hold whole numbers.
        LedgerError: The key store or ledger cannot be used, or the ledger has no such commitment.
    """
    from kdguard.detectors.watermark.keys import foreign_key

    if key_file is not None:
        if epoch or ledger:
            raise WatermarkError("--epoch and --ledger go with keys of the key store, not with --key-file")
        return Asked(foreign_key(_numbers(key_file)), committed=False)
    if epoch is None:
        raise WatermarkError("give --key-file FILE, or --epoch (and --account) of a key in the key store")
    return _from_store(mark, keys, account, epoch, ledger)


def _from_store(mark: Mark, keys: Path | None, account: str, epoch: str, ledger: Path | None) -> Asked:
    from kdguard.detectors.watermark.keys import derived_key
    from kdguard.detectors.watermark.mark import LEDGER_SCHEME
    from kdguard.ledger.derivation import KeyName
    from kdguard.ledger.entries import reveal_fits
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import open_ledger

    name = KeyName(LEDGER_SCHEME, account, epoch)
    derived = open_keys(place_of_keys(keys)).current.derive(name)
    key = derived_key(derived.key.reveal(), mark.scheme.key_words, mark.scheme.key_bits)
    if ledger is None:
        return Asked(key, committed=False)
    read = open_ledger(ledger)
    entry = read.entry(read.find("key_id", derived.key_id))
    if derived.key_id in read.revoked():
        raise WatermarkError(f"key {derived.key_id[:16]} is revoked: {read.revoked()[derived.key_id]}")
    if not reveal_fits(entry, name, derived.key.reveal(), derived.salt.reveal(), mark.parameters()):
        raise WatermarkError(
            f"{ledger}: the commitment to key {derived.key_id[:16]} was made with other parameters than this mark's"
        )
    return Asked(key, committed=True)


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
