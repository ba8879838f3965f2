"""The marks of `kdguard teacher serve`: a watermark while text is sampled, canaries and twins on finished answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from kdguard.detectors.watermark.processors import MarkProcessor
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
    mark = None if options.mark is None else _processor(folder, options)
    teacher = LocalTeacher.load(folder, mark=mark, **settings)
    return MarkedTeacher(teacher, marks) if marks.filters or marks.released else teacher


def _processor(folder: Path, options: MarkOptions) -> MarkProcessor:
    from transformers import AutoConfig

    from kdguard.cli.watermark.keys import key_of, mark_of
    from kdguard.cli.watermark.options import Named
    from kdguard.detectors.watermark.processors import MarkProcessor

    named = Named(options.mark, None, None, None, options.keys, options.epoch, "", options.ledger)
    mark = mark_of(named)
    asked = key_of(mark, named)
    if not asked.committed:
        typer.echo("without --ledger nobody checks that the watermark's key was committed to", err=True)
    vocab = int(AutoConfig.from_pretrained(folder).vocab_size)
    return MarkProcessor(mark.scheme, asked.key, vocab=vocab, delta=options.delta)
