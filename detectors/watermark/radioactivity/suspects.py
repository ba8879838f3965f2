"""Suspects one by one: from texts or weights to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdguard.detectors.watermark.claims import rows_of
from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.weights import (
    Gate,
    Weighted,
    closed_contrast,
    open_contrast,
    window_codes,
)
from kdguard.detectors.watermark.reading import Read
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.windows import Texts
from kdguard.evidence import Abstention


class Contrast(NamedTuple):
    """What a suspect says more or less often than clean models, before any key is looked at.

    Attributes:
        mode: `closed` by its text, `open` by what it expects.
        weighted: Pairs with their weights.
    """

    mode: str
    weighted: Weighted


def closed_contrasts(
    scheme: Scheme, read: Read, clean: Texts, gate: Gate | None = None, *, known: Texts | None = None
) -> dict[str, Contrast]:
    """Weigh what every suspect wrote.

    Args:
        scheme: The mark.
        read: Texts with their suspects, and the prompts that were asked.
        clean: What models wrote that saw no mark.
        gate: Which windows count.
        known: Text the suspects were served, where that is known: only its windows count.
    """
    copied = None if read.prompts is None else window_codes(scheme, read.prompts)
    served = None if known is None else window_codes(scheme, known)
    return {
        name: Contrast(
            "closed",
            closed_contrast(scheme, _of(read, number), clean, gate=gate, copied=copied, known=served),
        )
        for number, name in enumerate(read.names)
    }


def open_contrast_of(
    scheme: Scheme, read: Read, suspect: Path, clean: Sequence[Path], gate: Gate | None = None
) -> dict[str, Contrast]:
    """Weigh what a suspect whose weights are at hand expects while it reads texts.

    Args:
        scheme: The mark.
        read: What is read; it may bear the mark: a place whose window its text had before does not count.
        suspect: The suspect's folder.
        clean: Folders of models that saw no mark.
        gate: Which windows count.

    Raises:
        ModelError: A folder is not safe to load, damaged or incomplete.
        WatermarkError: The models have different vocabularies, or nothing that was read counts.
    """
    from kdguard.detectors.watermark.radioactivity.models import readings
    from kdguard.distill.models import load_model

    seen = readings(load_model(suspect), [load_model(folder) for folder in clean], read.texts)
    return {suspect.name: Contrast("open", open_contrast(scheme, seen, gate=gate))}


def judge(
    scheme: Scheme,
    key: MarkKey,
    contrasts: Mapping[str, Contrast],
    decoys: int = 999,
    *,
    committed: bool = False,
) -> tuple[Radioactivity | Abstention, ...]:
    """Test every suspect. Arguments as for `radioactivity`."""
    return tuple(
        radioactivity(
            scheme,
            key,
            contrast.weighted,
            subject=name,
            mode=contrast.mode,
            decoys=decoys,
            committed=committed,
        )
        for name, contrast in contrasts.items()
    )


def contrast_statistics(
    contrasts: Mapping[str, Contrast], subjects: Sequence[str], decoys: int
) -> dict[str, Any]:
    """What `claims.learnt_from_marked` takes, of some of the suspects that were searched.

    Args:
        contrasts: What was weighed of each suspect.
        subjects: Those that a case is about.
        decoys: Decoy keys.
    """
    told = {}
    for name in subjects:
        mode, weighted = contrasts[name]
        told[name] = {
            "mode": mode,
            "tokens": weighted.tokens,
            "used": weighted.used,
            "pairs": rows_of(weighted.pairs),
            "weights": weighted.weights.tolist(),
        }
    return {"subjects": told, "searched": len(contrasts), "decoys": decoys}


def _of(read: Read, subject: int) -> Texts:
    """The texts of one subject."""
    starts = read.texts.starts
    return Texts.of(
        [read.texts.token_ids[starts[at] : starts[at + 1]] for at in np.flatnonzero(read.subjects == subject)]
    )
