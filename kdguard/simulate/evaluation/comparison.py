"""kdguard beside its rivals, on the very accounts that the rivals saw."""

from __future__ import annotations

import pandas as pd

from kdguard.simulate.evaluation.power import ALL
from kdguard.simulate.evaluation.rates import Cell, rate_of
from kdguard.simulate.evaluation.rivalry import RECALIBRATED

OURS = "kdguard"


def comparison(rows: pd.DataFrame, rivals: pd.DataFrame, alpha: float, seed: int) -> tuple[Cell, ...]:
    """Alarm rates of every method and rule.

    Args:
        rows: kdguard's outcomes.
        rivals: Rows of `rival_rows`.
        alpha: Level.
        seed: Seed of the resamples.

    Returns:
        Cells keyed by `rival`, `rule`, `requests`, `on` ("honest", or the mix of attack accounts) and
        `technique` ("" for honest accounts). Honest accounts that a method cannot judge are left out and
        counted; attack accounts that it cannot judge are misses.
    """
    if rivals.empty:
        return ()
    everyone = pd.concat([rivals, _ours(rows, rivals, alpha)], ignore_index=True)
    everyone = everyone.merge(
        rows.loc[rows["part"] == "benign", ["world", "account_id", "owner"]],
        how="left",
        on=["world", "account_id"],
    )
    everyone["cluster"] = everyone["campaign_id"].fillna(everyone["owner"])
    cells = []
    for _, part in everyone.groupby(["rival", "rule", "look"], sort=False):
        rival, rule, look = part.iloc[0][["rival", "rule", "look"]]
        key: dict[str, str | float | int] = {"rival": str(rival), "rule": str(rule), "requests": int(look)}
        honest = part[part["part"] == "benign"]
        cells.append(_cell(key | {"on": "honest", "technique": ""}, honest, seed, drop=True))
        attack = part[part["part"] == "grid"]
        for mix in dict.fromkeys(attack["mix"].tolist()):
            pure = attack[attack["mix"] == mix]
            cells.append(_cell(key | {"on": float(mix), "technique": ALL}, pure, seed))
            for technique in dict.fromkeys(pure["technique"].tolist()):
                some = pure[pure["technique"] == technique]
                cells.append(_cell(key | {"on": float(mix), "technique": str(technique)}, some, seed))
    return tuple(cells)


def _ours(rows: pd.DataFrame, rivals: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Our running p-value on the accounts that took part, in the rivals' form."""
    seen = rivals.drop_duplicates(["world", "part", "account_id", "look"])
    known = rows[rows["part"].isin(["benign", "grid"])].set_index(["world", "part", "account_id"])
    parts = []
    for look, some in seen.groupby("look"):
        p_value = known[f"p_{look}"].reindex(pd.MultiIndex.from_frame(some[["world", "part", "account_id"]]))
        alarm = (p_value <= alpha).astype(float).where(p_value.notna()).to_numpy()
        parts.append(some.assign(rival=OURS, rule=f"running p <= {alpha:g}", alarm=alarm))
    return pd.concat(parts, ignore_index=True)


def _cell(key: dict[str, str | float | int], rows: pd.DataFrame, seed: int, *, drop: bool = False) -> Cell:
    abstained = int(rows["alarm"].isna().sum())
    counted = rows[rows["alarm"].notna()] if drop else rows
    hits = (counted["alarm"] == 1.0).to_numpy()
    return Cell(
        key,
        rate_of(
            hits, counted["cluster"].to_numpy(), counted["world"].to_numpy(), abstained=abstained, seed=seed
        ),
    )


__all__ = ["OURS", "RECALIBRATED", "comparison"]
