"""What `score` and `demo` share: opening a baseline and running one scoring with the facts of the run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import kdguard
from kdguard.detectors import default_suite
from kdguard.readers import Rejects
from kdguard.readers.log import open_log
from kdguard.scoring.baseline import Baseline
from kdguard.scoring.facts import read_accounts
from kdguard.scoring.store import load_baseline
from kdguard.verdict import Findings


@dataclass(frozen=True, slots=True)
class Scored:
    """Findings, and what could not be read on the way."""

    findings: Findings
    rejects: Rejects


def open_baseline(path: Path | None) -> Baseline:
    """Load the user's baseline, or the shipped one, which never leads beyond a review."""
    if path is not None:
        return load_baseline(path, default_suite())
    shipped = resources.files("kdguard.detectors").joinpath("shipped.safetensors")
    with resources.as_file(shipped) as file:
        return load_baseline(file, default_suite(), shipped=True)


def score_logs(
    logs: Sequence[str],
    *,
    baseline: Baseline,
    log_format: str = "auto",
    accounts: Path | None = None,
    account: str | None = None,
    time: str | None = None,
    alpha: float = 0.01,
    fdr: float = 0.1,
    workers: int = 1,
    rejects: Path | None = None,
    plots: bool = False,
) -> Scored:
    """Score log files and record what was read, by digest."""
    table = read_accounts(accounts) if accounts else None
    with ExitStack() as stack:
        counted = stack.enter_context(Rejects(rejects))
        log = open_log(list(logs), log_format, account=account, time=time, rejects=counted)
        findings = kdguard.score(log, baseline, table, alpha=alpha, fdr=fdr, workers=workers, plots=plots)
    summary = dict(findings.summary) | {
        "rejected_lines": counted.total,
        "kdguard": kdguard.__version__,
        "inputs": [_digest(Path(name)) for name in logs if name != "-" and Path(name).is_file()],
    }
    if findings.summary["unattributed_exchanges"]:
        print(
            f"{findings.summary['unattributed_exchanges']} exchanges name no account and were not scored; "
            "give --account FIELD or --account =NAME",
            file=sys.stderr,
        )
    inputs: dict[str, Any] = {
        "files": summary["inputs"],
        "parameters": {"alpha": alpha, "fdr": fdr, "format": log_format},
        "versions": {"kdguard": kdguard.__version__},
        "baseline_digest": baseline.digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command": "kdguard score " + " ".join(logs),
    }
    shown = dict(findings.plots) | ({"inputs": inputs} if plots else {})
    return Scored(replace(findings, summary=summary, plots=shown), counted)


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {
        "name": path.name,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "format": path.suffix.lstrip("."),
    }
