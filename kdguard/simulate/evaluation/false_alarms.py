"""How often honest accounts alarm: overall, and in every corner where they might be treated worse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from kdguard.simulate.evaluation.rates import Cell, exact_excess, rate_of

VOLUMES = (10, 20, 160, 1280)
"""Requests at which the reported volume bins begin."""
TOLERATED = 0.02
"""Rate that every stratum and volume bin is tested against."""
FEWEST_OF_A_COUNTRY = 100
"""Accounts below which countries are reported together."""


def volume_bin(requests: pd.Series) -> pd.Series:
    """Name the volume bin of each account."""
    edges = [0, *VOLUMES, np.inf]
    names = [f"under {VOLUMES[0]}"]
    names += [f"{low} to {high - 1}" for low, high in pairwise(VOLUMES)]
    names.append(f"{VOLUMES[-1]} and more")
    return pd.cut(requests, edges, right=False, labels=names).astype(str)


def false_alarms(rows: pd.DataFrame, alpha: float, seed: int) -> tuple[Cell, ...]:
    """Account false-alarm rates of honest accounts.

    Args:
        rows: Outcomes of honest accounts.
        alpha: Level of an alarm.
        seed: Seed of the resamples and of the account drawn for each owner.

    Returns:
        Cells keyed by `group` (what the accounts are divided by), `name`, and `statistic`.
    """
    rows = rows.assign(volume=volume_bin(rows["requests"]))
    cells = [_cell(rows, "overall", "all accounts", alpha, seed)]
    cells.append(_cell(rows, "overall", "all accounts", alpha, seed, "p_pooled"))
    for group, column in (("stratum", "stratum"), ("volume", "volume"), ("workload (hidden)", "workload")):
        for name, part in rows.groupby(column, sort=True):
            cells.append(_cell(part, group, str(name), alpha, seed))
    for (stratum, volume), part in rows[rows["p_value"].notna()].groupby(["stratum", "volume"], sort=True):
        cells.append(_tested(part, f"{stratum}, {volume}", alpha, seed))
    common = rows["country"].map(rows["country"].value_counts()) >= FEWEST_OF_A_COUNTRY
    for name, part in rows.groupby(rows["country"].where(common, "all others"), sort=True):
        cells.append(_cell(part, "country (reporting only)", str(name), alpha, seed))
    for name, part in rows.groupby("world", sort=True):
        cells.append(_cell(part, "world", str(name), alpha, seed))
    return tuple(cells)


def honest_rate(rows: pd.DataFrame, name: str, alpha: float, seed: int) -> Cell:
    """One overall rate under a condition, e.g. a shifted world."""
    return _cell(rows, "condition", name, alpha, seed)


def _cell(
    rows: pd.DataFrame, group: str, name: str, alpha: float, seed: int, statistic: str = "p_value"
) -> Cell:
    scored = rows[rows[statistic].notna()]
    rate = rate_of(
        (scored[statistic] <= alpha).to_numpy(),
        scored["owner"].to_numpy(),
        scored["world"].to_numpy(),
        abstained=len(rows) - len(scored),
        seed=seed,
    )
    return Cell({"group": group, "name": name, "statistic": statistic}, rate)


def _tested(rows: pd.DataFrame, name: str, alpha: float, seed: int) -> Cell:
    """A cell with the exact test, which needs independent trials: one account an owner, drawn by seed."""
    cell = _cell(rows, "stratum and volume", name, alpha, seed)
    drawn = rows.sample(frac=1, random_state=seed % 2**32).drop_duplicates(["world", "owner"])
    hits = int((drawn["p_value"] <= alpha).sum())
    return Cell(cell.key, cell.rate, exact_excess(hits, len(drawn), TOLERATED))
