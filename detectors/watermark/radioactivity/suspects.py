"""Suspects one by one: from texts or weights to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.weights import (
    Gate,
    closed_contrast,
    open_contrast,
    window_codes,
)
from kdguard.detectors.watermark.reading import Read
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.windows import Texts
from kdguard.evidence import Abstention

Told = tuple[Radioactivity | Abstention, ...]


class Guard(NamedTuple):
    """What keeps a test honest.

    Attributes:
        gate: Which windows count.
        decoys: Decoy keys that guard the tail.
        committed: The key was committed to before its first use, and the commitment was checked.
    """

    gate: Gate = Gate()
    decoys: int = 999
    committed: bool = False


def closed_tests(
    scheme: Scheme, key: MarkKey, read: Read, clean: Texts, guard: Guard, *, known: Texts | None = None
) -> Told:
    """Test every suspect by what it wrote.

    Args:
        scheme: The mark.
        key: The key.
        read: Texts with their suspects, and the prompts that were asked.
        clean: What models wrote that saw no mark.
        guard: Gate, decoys, commitment.
        known: Text the suspects were served, where that is known: only its windows count.
    """
    copied = None if read.prompts is None else window_codes(scheme, read.prompts)
    served = None if known is None else window_codes(scheme, known)
    found = []
    for number, name in enumerate(read.names):
        said = _of(read, number)
        weighted = closed_contrast(scheme, said, clean, gate=guard.gate, copied=copied, known=served)
        found.append(
            radioactivity(
                scheme,
                key,
                weighted,
                subject=name,
                mode="closed",
                decoys=guard.decoys,
                committed=guard.committed,
            )
        )
    return tuple(found)


def open_test(
    scheme: Scheme, key: MarkKey, read: Read, suspect: Path, clean: Sequence[Path], guard: Guard
) -> Told:
    """Test a suspect whose weights are at hand by what it expects while it reads texts.

    Args:
        scheme: The mark.
        key: The key.
        read: What is read; it may bear the mark: a place whose window its text had before does not count.
        suspect: The suspect's folder.
        clean: Folders of models that saw no mark.
        guard: Gate, decoys, commitment.

    Raises:
        ModelError: A folder is not safe to load, damaged or incomplete.
        WatermarkError: The models have different vocabularies, or nothing that was read counts.
    """
    from kdguard.detectors.watermark.radioactivity.models import readings
    from kdguard.distill.models import load_model

    seen = readings(load_model(suspect), [load_model(folder) for folder in clean], read.texts)
    weighted = open_contrast(scheme, seen, gate=guard.gate)
    found = radioactivity(
        scheme,
        key,
        weighted,
        subject=suspect.name,
        mode="open",
        decoys=guard.decoys,
        committed=guard.committed,
    )
    return (found,)


def _of(read: Read, subject: int) -> Texts:
    """The texts of one subject."""
    starts = read.texts.starts
    return Texts.of(
        [read.texts.token_ids[starts[at] : starts[at + 1]] for at in np.flatnonzero(read.subjects == subject)]
    )
