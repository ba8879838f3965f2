"""What can be done with a log: which detectors can run, which third parties bring, and what may be claimed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

# Detector group -> groups of columns, of each of which one must be filled -> what to do if not.
REQUIREMENTS: tuple[tuple[str, tuple[tuple[str, ...], ...], str], ...] = (
    ("any verdict on accounts", (("account_id",),), "--account FIELD, or --account =NAME for one account"),
    (
        "technique, template, coverage, drift",
        (("prompt",),),
        "log prompts: only metadata speaks without them",
    ),
    ("tempo, ramp, synchrony", (("time",),), "--time FIELD, or --time file"),
    (
        "events: pivot, failover, sweep",
        (("time",), ("model",), ("status", "refused")),
        "log model and status",
    ),
    (
        "coordination by metadata",
        (("client_ip", "user_agent", "tls_fingerprint", "key_hash"),),
        "log an address, user agent or key hash",
    ),
    ("label and logprob harvesting", (("logprobs", "n", "logit_bias"),), "log the request parameters"),
)


def abilities(columns: dict[str, float]) -> list[dict[str, Any]]:
    """For each group of detectors: the share of exchanges it can use, and what to do if that is none."""
    found = []
    for name, groups, advice in REQUIREMENTS:
        usable = min(max(columns.get(column, 0.0) for column in group) for group in groups)
        state, note = ("runs", f"on {usable:.0%} of exchanges") if usable else ("abstains", advice)
        found.append({"detectors": name, "state": state, "note": note, "usable": usable})
    return found


def third_party() -> list[dict[str, str]]:
    """Detectors and tests of other distributions; a broken one says why, and stops nothing here."""
    from kdguard.detectors import plugins
    from kdguard.errors import PluginError

    brought = []
    for group in (plugins.DETECTORS, plugins.TESTS):
        for plugin in plugins.found(group):
            try:
                loaded = plugin.load() if group == plugins.TESTS else plugins.make_detector(plugin)
                needs = ", ".join(getattr(loaded, "requires", ()))
                state, note = "found", f"needs {needs}" if needs else ""
            except PluginError as error:
                state, note = "broken", str(error)
            kind = group.rpartition(".")[2].removesuffix("s")
            brought.append({"kind": kind, "state": state, "note": note} | _named(plugin))
    return brought


def _named(plugin: Any) -> dict[str, str]:
    return {"name": plugin.name, "distribution": plugin.distribution}


def possible_claims(rankable: int, baseline: Path | None) -> list[dict[str, Any]]:
    """What the smallest p allows: of a baseline, or of one that would be learnt from this log.

    Args:
        rankable: Accounts with enough requests for a p-value.
        baseline: A baseline file; None takes the log itself for one, as large as it is.
    """
    from kdguard.cli.session import open_baseline
    from kdguard.scoring.baseline import POOLED
    from kdguard.scoring.claims import claims, if_learnt_from, of_panel
    from kdguard.scoring.ranking import BIN_SHARES

    references, share = if_learnt_from(rankable), BIN_SHARES[0]
    if baseline is not None:
        references, share = of_panel(open_baseline(baseline).kinds[POOLED].panel)
    return [asdict(claim) for claim in claims(references, rankable, share)]
