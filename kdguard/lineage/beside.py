"""Facts beside verdicts: what was copied word for word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.families import Families
from kdguard.lineage.overlap import Overlap, containments, overlaps, summary
from kdguard.lineage.responses import Responses
from kdguard.lineage.verdict import LineageVerdict

Overlaps = dict[tuple[str, str], Overlap]
"""By suspect and family."""


def with_overlap(
    verdicts: Sequence[LineageVerdict], responses: Responses, families: Families
) -> tuple[tuple[LineageVerdict, ...], Overlaps]:
    """Add to each verdict how much of the suspect's answers stands in the family's, as descriptive evidence.

    Args:
        verdicts: From `run_tests`.
        responses: The table they rest on.
        families: Its families.
    """
    shares = containments(responses, families)
    column = {name: at for at, name in enumerate(responses.models)}
    found: Overlaps = {}
    told = []
    for verdict in verdicts:
        controls = [column[name] for name in verdict.ranked.controls] if verdict.ranked else []
        family = families.names.index(verdict.teacher_family)
        own = overlaps(shares[:, :, family], responses, column[verdict.suspect], np.array(controls, np.int64))
        if own is not None:
            found[verdict.suspect, verdict.teacher_family] = own
            verdict = replace(verdict, evidence=(*verdict.evidence, _evidence(own, verdict)))
        told.append(verdict)
    return tuple(told), found


def _evidence(overlap: Overlap, verdict: LineageVerdict) -> Evidence:
    return Evidence(
        detector="lineage.overlap",
        version="1",
        subject=verdict.suspect,
        guarantee=Guarantee.DESCRIPTIVE,
        score=round(overlap.share, 6),
        n=overlap.prompts,
        summary=summary(overlap, verdict.teacher_family),
        exhibits=overlap.examples,
    )
