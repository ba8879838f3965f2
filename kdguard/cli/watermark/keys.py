"""Where a mark and its key come from: the ledger's own keys, or a file of numbers for marks of other software."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kdguard.errors import WatermarkError

if TYPE_CHECKING:
    from kdguard.cli.watermark.options import Named
    from kdguard.detectors.watermark.keys import MarkKey
    from kdguard.detectors.watermark.mark import Mark
    from kdguard.ledger.derivation import KeyName


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


def keys_of(mark: Mark, named: Named) -> tuple[Asked, ...]:
    """The keys that options name: one for all, or one an account.

    Raises:
        WatermarkError: Not exactly one way is given, the file does not hold whole numbers, or more accounts are named
            than the mark says have keys.
        LedgerError: The key store or ledger cannot be used, or the ledger has no such commitment.
    """
    from kdguard.detectors.watermark.keys import foreign_key

    if named.key_file is not None:
        if named.epoch or named.ledger or named.accounts or named.accounts_file:
            raise WatermarkError(
                "--epoch, --account and --ledger go with keys of the key store, not with --key-file"
            )
        return (Asked(foreign_key(_numbers(named.key_file))),)
    if named.epoch is None:
        raise WatermarkError("give --key-file FILE, or --epoch (and --account) of a key in the key store")
    return _from_store(mark, named, named.epoch)


def _from_store(mark: Mark, named: Named, epoch: str) -> tuple[Asked, ...]:
    from kdguard.cli.mark_tables import account_names
    from kdguard.detectors.watermark.committed import stored_key
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import open_ledger

    store = open_keys(place_of_keys(named.keys))
    ledger = None if named.ledger is None else open_ledger(named.ledger)
    accounts = account_names(named.accounts, named.accounts_file)
    if len(accounts) > mark.accounts:
        raise WatermarkError(
            f"the mark says that {mark.accounts} have a key of their own, {len(accounts)} accounts are named; state "
            f'"accounts": {len(accounts)} in its file and commit to that, since p is over all of them'
        )
    if mark.accounts > 1 and not accounts:
        raise WatermarkError(f"{mark.accounts} accounts have keys: give --account, or --accounts FILE")
    return tuple(
        Asked(*stored_key(mark, store, ledger, epoch=epoch, account=account), committed=ledger is not None)
        for account in accounts or [""]
    )


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
