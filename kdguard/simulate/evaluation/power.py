"""How many attack accounts alarm, by technique, mix and requests seen, and when for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kdguard.simulate.evaluation.plan import LOOKS
from kdguard.simulate.evaluation.rates import Cell, rate_of

ALL = "all techniques"


def power(
    rows: pd.DataFrame, by: Sequence[str], alpha: float, seed: int, looks: Sequence[int] = LOOKS
) -> tuple[Cell, ...]:
    """Share of attack accounts with p <= alpha within so many requests; abstaining is missing.

    Args:
        rows: Outcomes of attack accounts.
        by: Columns that divide them.
        alpha: Level.
        seed: Seed of the resamples; whole campaigns are resampled.
        looks: Requests seen.
    """
    if rows.empty:
        return ()
    return tuple(
        Cell(
            {name: part[name].iloc[0] for name in by} | {"requests": look},
            _caught(part, f"p_{look}", alpha, seed),
        )
        for _, part in rows.groupby(list(by), sort=False)
        for look in looks
    )


def over_techniques(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows once more under the technique "all techniques"."""
    return pd.concat([rows.assign(technique=ALL), rows], ignore_index=True)


def _caught(rows: pd.DataFrame, column: str, alpha: float, seed: int) -> Any:
    return rate_of(
        (rows[column] <= alpha).to_numpy(),
        rows["campaign_id"].to_numpy(),
        rows["world"].to_numpy(),
        abstained=int(rows[column].isna().sum()),
        seed=seed,
    )


@dataclass(frozen=True)
class FirstAlarm:
    """Requests until the first alarm of pure attack accounts.

    Attributes:
        technique: Technique.
        accounts: Accounts behind it.
        never: Share that never alarmed within the requests simulated.
        median, p90: Requests; infinite where that share never alarmed.
        median_high: Upper end of the median's 95 % interval, resampling campaigns.
    """

    technique: str
    accounts: int
    never: float
    median: float
    p90: float
    median_high: float


def first_alarms(rows: pd.DataFrame, seed: int, draws: int = 400) -> tuple[FirstAlarm, ...]:
    """Requests to the first alarm in pure campaigns, technique by technique and overall.

    Args:
        rows: Outcomes of the grid's attack accounts.
        seed: Seed of the resamples.
        draws: Resamples of campaigns.
    """
    found = []
    for technique, part in over_techniques(rows[rows["mix"] == 1.0]).groupby("technique", sort=False):
        seen = np.where(part["first_alarm"] > 0, part["first_alarm"].astype(float), np.inf)
        rng = np.random.default_rng(seed)
        groups = [
            seen[at] for at in part.reset_index(drop=True).groupby(["world", "campaign_id"]).indices.values()
        ]
        medians = [
            _quantile(np.concatenate([groups[at] for at in rng.integers(len(groups), size=len(groups))]), 0.5)
            for _ in range(draws)
        ]
        found.append(
            FirstAlarm(
                technique=str(technique),
                accounts=len(seen),
                never=float(np.isinf(seen).mean()),
                median=_quantile(seen, 0.5),
                p90=_quantile(seen, 0.9),
                median_high=_quantile(np.array(medians), 0.975),
            )
        )
    return tuple(found)


def _quantile(values: Any, level: float) -> float:
    """Smallest value that so large a share does not exceed; infinity is a value like others."""
    return float(np.sort(values)[max(int(np.ceil(level * len(values))) - 1, 0)])
