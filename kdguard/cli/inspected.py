"""What `kdguard inspect` found, as titles with rows of cells for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdguard.readers.summary import Summary

Rows = list[tuple[str, ...]]
_MOST_FILES = 8


def sections(summary: Summary, told: dict[str, Any], baseline: Path | None) -> list[tuple[str, Rows]]:
    """Lay everything out on one screen.

    Args:
        summary: What is in the log.
        told: The same and more, as `--json` prints it.
        baseline: The baseline that claims were asked for, if any.
    """
    of = str(baseline) if baseline else "a baseline from as much traffic as this"
    found: list[tuple[str, Rows]] = [
        ("Files, and exchanges in them", _files(told["files"])),
        *summary.sections(),
        ("Detectors", [(entry["detectors"], entry["state"], entry["note"]) for entry in told["detectors"]]),
        ("From other distributions", [_brought(entry) for entry in told["third_party"]]),
        (f"Claims, with {of}", [_claim(entry) for entry in told["claims"]]),
        ("Rejected", _rejected(told)),
    ]
    return [(title, rows) for title, rows in found if rows]


def _files(files: list[dict[str, Any]]) -> Rows:
    rows: Rows = []
    short = len({Path(entry["file"]).name for entry in files}) == len(files)
    for entry in files[:_MOST_FILES]:
        name = Path(entry["file"]).name if short else entry["file"]
        bad = f"{entry['rejected']:,} rejected" if entry["rejected"] else ""
        rows.append((name, entry["format"], f"{entry['exchanges']:,}", bad))
    if len(files) > _MOST_FILES:
        rows.append((f"and {len(files) - _MOST_FILES:,} more; --json lists them all", "", "", ""))
    return rows


def _brought(entry: dict[str, str]) -> tuple[str, ...]:
    return entry["distribution"], f"{entry['kind']} {entry['name']}", entry["state"], entry["note"]


def _claim(entry: dict[str, Any]) -> tuple[str, ...]:
    return entry["claim"], "possible" if entry["possible"] else "ruled out", entry["why"]


def _rejected(told: dict[str, Any]) -> Rows:
    counts: Rows = [(f"{count:,}", rule) for rule, count in told["rejects"].items()]
    return [*counts, *(("", message) for message in told["examples"])]
