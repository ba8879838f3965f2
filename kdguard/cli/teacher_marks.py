"""The marks of `kdguard teacher serve`: a watermark while text is sampled, canaries and twins on finished answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from kdguard.distill.teachers.generation.sampling import MarkOf
    from kdguard.distill.teachers.protocol import Teacher


class MarkOptions(NamedTuple):
    """Options of the command that are about marks."""

    mark: Path | None
    delta: float
    epoch: str | None
    canaries: Path | None
    twins: Path | None
    keys: Path | None
    ledger: Path | None
    accounts: Path | None = None


def marked_teacher(folder: Path, options: MarkOptions, **settings: Any) -> Teacher:
    """Load a model folder as a teacher whose answers bear the marks that were asked for.

    Raises:
        InputError: A folder, key store, mark or plan that cannot be used.
    """
    from kdguard.distill.teachers.local import LocalTeacher

    if options.mark is None and options.canaries is None and options.twins is None:
        return LocalTeacher.load(folder, **settings)
    from kdguard.detectors.marking import MarkedTeacher, read_marks
    from kdguard.ledger.keys import open_keys, place_of_keys

    store = open_keys(place_of_keys(options.keys))
    marks = read_marks(store, canaries=options.canaries, twins=options.twins)
    mark_of = None if options.mark is None else _mark_of(folder, options.mark, options)
    teacher = LocalTeacher.load(folder, mark_of=mark_of, **settings)
    return MarkedTeacher(teacher, marks) if marks.filters or marks.released else teacher


def _mark_of(folder: Path, description: Path, options: MarkOptions) -> MarkOf:
    """The watermark of each account: one for all, or, where the mark is for several, one with each one's own key."""
    from transformers import AutoConfig

    from kdguard.cli.watermark.keys import keys_of
    from kdguard.cli.watermark.options import Named
    from kdguard.detectors.watermark.mark import read_mark
    from kdguard.detectors.watermark.processors import KEPT_BYTES, MarkProcessor

    mark = read_mark(description)
    accounts = _accounts(options.accounts) if mark.accounts > 1 else None
    named = Named(description, None, None, None, options.keys, options.epoch, accounts, options.ledger)
    asked = keys_of(mark, named)
    if options.ledger is None:
        typer.echo("without --ledger nobody checks that the watermark's key was committed to", err=True)
    vocab = int(AutoConfig.from_pretrained(folder).vocab_size)
    room = KEPT_BYTES // len(asked)
    processors = {
        one.key.account: MarkProcessor(
            mark.scheme, one.key, vocab=vocab, delta=options.delta, kept_bytes=room
        )
        for one in asked
    }
    return (lambda account: processors.get(account or "")) if accounts else lambda _: processors[""]


def _accounts(path: Path | None) -> list[str]:
    """Accounts that may call, of which each has a mark of its own.

    Raises:
        TeacherError: Everybody may call, or nobody.
    """
    from kdguard.errors import TeacherError
    from kdguard.service.accounts import read_accounts

    accounts = [] if path is None else [one.account_id for one in read_accounts(path)]
    if not accounts:
        raise TeacherError("a mark with a key for each account needs --keys, with the accounts that may call")
    return list(dict.fromkeys(accounts))
