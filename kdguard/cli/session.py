"""What `score` and `demo` share: opening a baseline and running one scoring with the facts of the run."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import kdguard
from kdguard.detectors import default_suite
from kdguard.errors import InputError
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


def check_places(*places: Path | None) -> None:
    """Refuse before the work what could not be written after it.

    Raises:
        InputError: A file's folder is not there, or closed to writing, or the file is a folder itself.
    """
    for place in places:
        if place is not None and (place.is_dir() or not os.access(place.parent, os.W_OK)):
            raise InputError(
                f"{place}: must be a file in a folder that is there and may be written to; make the folder first"
            )


def open_baseline(path: Path | None) -> Baseline:
    """Load the user's baseline, or the shipped one, which knows no third-party detector and never flags."""
    if path is not None:
        return load_baseline(path, default_suite())
    shipped = resources.files("kdguard.detectors").joinpath("shipped.safetensors")
    with resources.as_file(shipped) as file:
        return load_baseline(file, default_suite(third_party=False), shipped=True)


def score_logs(
    logs: Sequence[str],
    *,
    baseline: Path | None = None,
    log_format: str = "auto",
    accounts: Path | None = None,
    account: str | None = None,
    time: str | None = None,
    alpha: float = 0.01,
    fdr: float = 0.1,
    workers: int = 1,
    lateness_h: float | None = None,
    rejects: Path | None = None,
    plots: bool = False,
) -> Scored:
    """Score log files and record what was read, by digest."""
    table = read_accounts(accounts) if accounts else None
    known = open_baseline(baseline)
    bound = bound_of(lateness_h)
    with ExitStack() as stack:
        counted = stack.enter_context(Rejects(rejects))
        log = open_log(
            list(logs),
            log_format,
            account=account,
            time=time,
            rejects=counted,
            in_arrival_order=bound is not None,
        )
        findings = kdguard.score(
            log, known, table, alpha=alpha, fdr=fdr, workers=workers, lateness=bound, plots=plots
        )
    files = [Path(name) for name in (*logs, accounts) if name is not None and Path(name).is_file()]
    summary = dict(findings.summary) | {
        "rejected_lines": counted.total,
        "kdguard": kdguard.__version__,
        "inputs": [_digest(file) for file in files],
    }
    _say_what_was_left_out(summary)
    parameters = {"alpha": alpha, "fdr": fdr, "format": log_format, "lateness": lateness_h}
    elsewhere = {"account": account, "time": time, "accounts": accounts, "baseline": baseline}
    inputs = _inputs(logs, summary, parameters, elsewhere) if plots else {}
    return Scored(replace(findings, summary=summary, plots=dict(findings.plots) | inputs), counted)


def _inputs(
    logs: Sequence[str],
    summary: Mapping[str, Any],
    parameters: Mapping[str, Any],
    elsewhere: Mapping[str, Any],
) -> dict[str, Any]:
    """What a report tells of its inputs; see `kdguard.report.plots.Inputs`."""
    inputs: dict[str, Any] = {
        "files": summary["inputs"],
        "parameters": {name: value for name, value in parameters.items() if value is not None},
        "versions": {"kdguard": kdguard.__version__},
        "baseline_digest": summary["baseline_digest"],
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command": _command(logs, {**parameters, **elsewhere}),
    }
    return {"inputs": inputs | ({"period": summary["period"]} if summary["period"] else {})}


def bound_of(hours: float | None) -> timedelta | None:
    """The bound of `--lateness`."""
    return None if hours is None else timedelta(hours=hours)


def _say_what_was_left_out(summary: Mapping[str, Any]) -> None:
    if summary["unattributed_exchanges"]:
        print(
            f"{summary['unattributed_exchanges']} exchanges name no account and were not scored; "
            "give --account FIELD or --account =NAME",
            file=sys.stderr,
        )
    if summary["late_exchanges"]:
        print(
            f"{summary['late_exchanges']} exchanges arrived later than --lateness and were not scored",
            file=sys.stderr,
        )


def _command(logs: Sequence[str], options: Mapping[str, Any]) -> str:
    """The command line that gives the same verdicts."""
    given = [
        word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))
    ]
    return shlex.join(["kdguard", "score", *logs, *given])


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {
        "name": path.name,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "format": path.suffix.lstrip("."),
    }
