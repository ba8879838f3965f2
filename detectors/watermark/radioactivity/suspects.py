"""Suspects one by one: texts to contrast to verdict."""

from __future__ import annotations

import numpy as np

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.weights import Gate, closed_contrast, window_codes
from kdguard.detectors.watermark.reading import Read
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.windows import Texts
from kdguard.evidence import Abstention


def closed_tests(
    scheme: Scheme,
    key: MarkKey,
    read: Read,
    *,
    clean: Texts,
    known: Texts | None = None,
    gate: Gate | None = None,
    decoys: int = 999,
    committed: bool = False,
) -> tuple[Radioactivity | Abstention, ...]:
    """Test every suspect by what it wrote.

    Args:
        scheme: The mark.
        key: The key.
        read: Texts with their suspects, and the prompts that were asked.
        clean: What models wrote that saw no mark.
        known: Text the suspects were served, where that is known: only its windows count.
        gate: Which windows count.
        decoys: Decoy keys that guard the tail.
        committed: The key was committed to before its first use, and the commitment was checked.
    """
    copied = None if read.prompts is None else window_codes(scheme, read.prompts)
    served = None if known is None else window_codes(scheme, known)
    return tuple(
        radioactivity(
            scheme,
            key,
            closed_contrast(scheme, _of(read, number), clean, gate=gate, copied=copied, known=served),
            subject=name,
            mode="closed",
            decoys=decoys,
            committed=committed,
        )
        for number, name in enumerate(read.names)
    )


def _of(read: Read, subject: int) -> Texts:
    """The texts of one subject."""
    starts = read.texts.starts
    return Texts.of(
        [read.texts.token_ids[starts[at] : starts[at + 1]] for at in np.flatnonzero(read.subjects == subject)]
    )
