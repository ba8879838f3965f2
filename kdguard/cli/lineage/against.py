"""What `kdguard lineage test` compares suspects with, read from files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kdguard import lineage
from kdguard.cli.lineage.ask import RESPONSES_FILE
from kdguard.cli.lineage.options import probes_of
from kdguard.detectors.fingerprint import default_tests
from kdguard.lineage import Claim
from kdguard.lineage.compared import Against, usual_kinds
from kdguard.lineage.controls import DEFAULT_KINDS
from kdguard.lineage.responses import COLUMNS
from kdguard.lineage.tables import once_each, read_frame, with_ids


def against(
    responses: Sequence[Path],
    families: Path,
    controls: Path | None,
    kinds: Sequence[str] | None,
    claim: Claim,
    *,
    seed: int,
    budget: int | None,
    probes: Path | None = None,
    encoder: Path | None = None,
) -> Against:
    """Read all of it; the texts of prompts come from `probes` where no table of answers tells them.

    Raises:
        LineageError: Something cannot be used.
    """
    table = None if controls is None else lineage.read_controls(controls)
    usual = DEFAULT_KINDS if table is None else usual_kinds(table)
    answers = pd.concat([_answers(path) for path in responses], ignore_index=True)
    frame, same_prompts = once_each(answers if probes is None else _with_prompts(answers, probes))
    return Against(
        frame,
        lineage.read_families(families),
        table,
        tuple(kinds or usual),
        default_tests(encoder),
        claim,
        seed,
        budget,
        same_prompts,
        workers=min(2, os.cpu_count() or 1),
    )


def _with_prompts(frame: pd.DataFrame, probes: Path) -> pd.DataFrame:
    known = {probe.prompt_id: probe.prompt for probe in probes_of(probes).probes}
    asked = frame["prompt_id"].astype(str).map(known)
    return frame.assign(prompt=frame["prompt"].fillna(asked) if "prompt" in frame else asked)


def _answers(path: Path) -> pd.DataFrame:
    return with_ids(read_frame(path / RESPONSES_FILE if path.is_dir() else path, COLUMNS))
