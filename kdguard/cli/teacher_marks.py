"""The marks of `kdguard teacher serve`: a watermark while text is sampled, canaries and twins on finished answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kdguard.errors import WatermarkError

if TYPE_CHECKING:
    from kdguard.detectors.watermark.processors import MarkProcessor
    from kdguard.distill.teachers.protocol import Teacher
    from kdguard.ledger.keys import KeyStore


class MarkOptions(NamedTuple):
    """Options of the command that are about marks."""

    mark: Path | None
    delta: float
    epoch: str | None
    canaries: Path | None
    twins: Path | None
    keys: Path | None


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
    mark = None if options.mark is None else _processor(folder, options.mark, options, store)
    teacher = LocalTeacher.load(folder, mark=mark, **settings)
    return MarkedTeacher(teacher, marks) if marks.filters or marks.released else teacher


def _processor(folder: Path, mark: Path, options: MarkOptions, store: KeyStore) -> MarkProcessor:
    from transformers import AutoConfig

    from kdguard.detectors.watermark.keys import derived_key
    from kdguard.detectors.watermark.mark import LEDGER_SCHEME, read_mark
    from kdguard.detectors.watermark.processors import MarkProcessor
    from kdguard.ledger.derivation import KeyName

    if options.epoch is None:
        raise WatermarkError("--mark needs --epoch, the period whose key writes it")
    scheme = read_mark(mark).scheme
    secret = store.current.derive(KeyName(LEDGER_SCHEME, "", options.epoch)).key.reveal()
    key = derived_key(secret, scheme.key_words, scheme.key_bits)
    vocab = int(AutoConfig.from_pretrained(folder).vocab_size)
    return MarkProcessor(scheme, key, vocab=vocab, delta=options.delta)
