"""What happened to every account: one row an account, baseline and world, kept as Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard.scan import CHECKPOINTS
from kdguard.scoring.score import AccountScores
from kdguard.simulate.evaluation.plan import LOOKS
from kdguard.simulate.evaluation.sources import LABELS, Traffic


def outcome_rows(
    scores: AccountScores, traffic: Traffic, *, world: int, part: str, setting: str = ""
) -> pd.DataFrame:
    """Put scored accounts into rows.

    Args:
        scores: Scored accounts.
        traffic: What they sent, with the truth where it is known.
        world: Number of the world.
        part: What the accounts are here for, e.g. `benign`, `grid`, `adaptive`.
        setting: The variant's setting.

    Returns:
        One row an account: who, truth, requests, `p_value`, `p_pooled`, `p_<look>` and `first_alarm`
        (requests seen, 0 = never). NaN p-values are abstentions.
    """
    facts = scores.facts
    frame = pd.DataFrame(
        {
            "world": world,
            "part": part,
            "setting": setting,
            "account_id": facts.account_id.astype(str),
            "owner": [f"{int(owner):016x}" for owner in facts.owner],
            "stratum": facts.stratum.astype(str),
            "permitted": facts.permitted,
            "country": [value if isinstance(value, str) else "not known" for value in facts.country],
            "kind": scores.kind.astype(str),
            "requests": scores.profiles.requests,
            "p_value": scores.p_value,
            "p_pooled": scores.p_pooled,
            "p_floor": scores.p_floor,
            "first_alarm": _first_alarm(scores),
        }
    )
    for look in LOOKS:
        frame[f"p_{look}"] = p_after(scores, look)
    for name in LABELS:
        column = traffic.labels[name].reindex(facts.account_id).to_numpy()
        frame[name] = column if name == "mix" else pd.Series(column, dtype=object).fillna("").to_numpy()
    return frame


def p_after(scores: AccountScores, requests: int) -> npt.NDArray[np.float64]:
    """Running p-value of each account at its last checkpoint within `requests`; NaN = none reached."""
    rows = scores.profiles.trajectories
    account = np.searchsorted(scores.facts.subject, rows.subject)
    within = np.flatnonzero(np.asarray(CHECKPOINTS)[rows.checkpoint] <= requests)
    last = np.full(len(scores.facts), -1)
    last[account[within]] = within
    if not len(rows.subject):
        return np.full(len(last), np.nan)
    return np.where(last >= 0, scores.p_by_checkpoint[np.maximum(last, 0)], np.nan)


def _first_alarm(scores: AccountScores) -> npt.NDArray[np.int64]:
    rows, at = scores.profiles.trajectories, scores.first_alarm
    if not len(rows.subject):
        return np.zeros(len(at), np.int64)
    return np.where(at >= 0, np.asarray(CHECKPOINTS)[rows.checkpoint[np.maximum(at, 0)]], 0)


def save_world(
    folder: Path, world: int, rows: pd.DataFrame, rivals: pd.DataFrame, facts: Mapping[str, Any]
) -> None:
    """Write one world's results; the facts come last and mark it complete."""
    rows.to_parquet(folder / f"world-{world:03d}.parquet", index=False)
    rivals.to_parquet(folder / f"rivals-{world:03d}.parquet", index=False)
    unfinished = folder / f"world-{world:03d}.json.part"
    unfinished.write_text(json.dumps(facts, sort_keys=True, indent=1))
    unfinished.replace(folder / f"world-{world:03d}.json")


def is_done(folder: Path, world: int) -> bool:
    """Whether a world's results are complete."""
    return (folder / f"world-{world:03d}.json").exists()


def load_worlds(folder: Path, worlds: int) -> tuple[pd.DataFrame, pd.DataFrame, list[dict[str, Any]]]:
    """Read the results of all worlds: account rows, rivals' rows, facts a world."""
    every = range(worlds)
    rows = pd.concat([pd.read_parquet(folder / f"world-{at:03d}.parquet") for at in every], ignore_index=True)
    rivals = [pd.read_parquet(folder / f"rivals-{at:03d}.parquet") for at in every]
    known = [part for part in rivals if len(part)]
    facts = [json.loads((folder / f"world-{at:03d}.json").read_text()) for at in every]
    return rows, pd.concat(known, ignore_index=True) if known else pd.DataFrame(), facts
