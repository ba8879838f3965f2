"""All results of an evaluation as one value: to JSON for machines, to Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from kdguard.simulate.evaluation.comparison import comparison
from kdguard.simulate.evaluation.contamination import told
from kdguard.simulate.evaluation.false_alarms import false_alarms, honest_rate
from kdguard.simulate.evaluation.plan import ADAPTIVE, Plan
from kdguard.simulate.evaluation.power import FirstAlarm, first_alarms, over_techniques, power
from kdguard.simulate.evaluation.rates import Cell, rate_of

REPORT_SCHEMA_VERSION = 1
_SECTIONS = ("honest", "conditions", "floors", "power", "held_out", "contaminated", "adaptive", "comparison")


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Attributes:
        plan: What was done.
        suite: Detectors, versions and weights, as JSON text.
        traffic: Where the honest traffic came from.
        honest: False-alarm rates of honest accounts.
        conditions: The same under a shifted mix of strata and with attackers in the baseline.
        floors: Accounts whose smallest possible p-value is above alpha: they could never alarm.
        power: By technique, mix and requests seen.
        first_alarms: Requests to the first alarm, pure campaigns.
        held_out: Power on techniques and languages that learning never saw, beside learning that did.
        contaminated: Power with undetected attackers in the baseline.
        adaptive: Power under evasive tactics.
        comparison: Beside published methods.
        discoveries: Flags and false flags in a month with attackers, over all worlds.
        worlds: Facts a world: drift, suspension, panel sizes, seconds.
        groups: Rows of the group study, if there was one.
        sources: Where each rival was published.
    """

    plan: Plan
    suite: str
    traffic: str
    honest: tuple[Cell, ...]
    conditions: tuple[Cell, ...]
    floors: tuple[Cell, ...]
    power: tuple[Cell, ...]
    first_alarms: tuple[FirstAlarm, ...]
    held_out: tuple[Cell, ...]
    contaminated: tuple[Cell, ...]
    adaptive: tuple[Cell, ...]
    comparison: tuple[Cell, ...]
    discoveries: tuple[Mapping[str, Any], ...]
    worlds: tuple[Mapping[str, Any], ...]
    groups: tuple[Mapping[str, Any], ...]
    sources: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; NaN and infinity become null."""
        cells = {name: [cell.to_json() for cell in getattr(self, name)] for name in _SECTIONS}
        rest = {
            "schema_version": REPORT_SCHEMA_VERSION,
            "plan": {name: value for name, value in asdict(self.plan).items() if name != "data"},
            "real_prompts": self.plan.data is not None,
            "suite": self.suite,
            "traffic": self.traffic,
            "first_alarms": [asdict(one) for one in self.first_alarms],
            "discoveries": [dict(one) for one in self.discoveries],
            "worlds": [dict(one) for one in self.worlds],
            "groups": [dict(one) for one in self.groups],
            "sources": dict(self.sources),
        }
        cleaned: dict[str, Any] = _finite(rest | cells)
        return cleaned


def make_report(
    plan: Plan,
    suite: str,
    traffic: str,
    rows: pd.DataFrame,
    rivals: pd.DataFrame,
    facts: Sequence[Mapping[str, Any]],
    sources: Mapping[str, str],
) -> Report:
    """Sum up the outcomes of all worlds.

    Args:
        plan: What was done.
        suite: Name of the detectors.
        traffic: Name of the honest traffic.
        rows: Account outcomes of all worlds.
        rivals: Rivals' rows of all worlds.
        facts: Facts a world.
        sources: Where each rival was published.
    """
    alpha, seed = plan.alpha, plan.seed
    rows, rivals = _ordered(rows, plan), _ordered(rivals, plan)
    parts = {str(name): part for name, part in rows.groupby("part", sort=False)}

    def part(*names: str) -> pd.DataFrame:
        return pd.concat([parts[name] for name in names if name in parts] or [rows.iloc[:0]])

    conditions = [honest_rate(part("benign"), "as calibrated", alpha, seed)]
    if "shifted" in parts:
        conditions.append(honest_rate(parts["shifted"], "shifted strata, suspension ignored", alpha, seed))
    for setting, some in part("benign_contaminated").groupby("setting", sort=True):
        conditions.append(honest_rate(some, f"baseline with {told(str(setting))}", alpha, seed))
    return Report(
        plan=plan,
        suite=suite,
        traffic=traffic,
        honest=false_alarms(part("benign"), alpha, seed),
        conditions=tuple(conditions),
        floors=(_floors(part("benign"), "honest", plan), _floors(part("grid"), "attack", plan)),
        power=power(over_techniques(part("grid")), ("technique", "mix"), alpha, seed),
        first_alarms=first_alarms(part("grid"), seed),
        held_out=_held_out(part, alpha, seed),
        contaminated=_contaminated(part, alpha, seed),
        adaptive=power(_by_tactic(part("adaptive")), ("tactics", "mix"), alpha, seed, (50, 100, 200)),
        comparison=comparison(rows, rivals, alpha, seed),
        discoveries=_discoveries(facts),
        worlds=tuple({name: value for name, value in one.items() if name != "groups"} for one in facts),
        groups=tuple({"world": one["world"]} | row for one in facts for row in one.get("groups", ())),
        sources=sources,
    )


def _ordered(rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Techniques in the plan's order, purest mix first, as tables show them."""
    if rows.empty:
        return rows
    place = rows["technique"].map({name: at for at, name in enumerate(plan.techniques)}).fillna(-1)
    order = np.lexsort((-rows["mix"].fillna(0).to_numpy(), place.to_numpy()))
    return rows.iloc[order].reset_index(drop=True)


def _floors(rows: pd.DataFrame, name: str, plan: Plan) -> Cell:
    scored = rows[rows["p_floor"].notna()]
    hits = (scored["p_floor"] > plan.alpha).to_numpy()
    rate = rate_of(hits, scored["owner"].to_numpy(), scored["world"].to_numpy(), seed=plan.seed)
    return Cell({"accounts": name}, rate)


def _by_tactic(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the tactics, each under its short name."""
    known = [(name, rows[rows["tactics"] == str(tactics)]) for name, tactics in ADAPTIVE]
    return pd.concat([some.assign(tactics=name) for name, some in known])


def _held_out(part: Any, alpha: float, seed: int) -> tuple[Cell, ...]:
    """Without and with the technique or language in learning, on the same accounts."""
    found: list[pd.DataFrame] = []
    without = part("held_out_technique")
    if len(without):
        with_it = _same_accounts(part("grid"), without).assign(setting=lambda rows: rows["technique"])
        found += [without.assign(learnt="without"), with_it.assign(learnt="with")]
        found[0]["held_out"] = found[1]["held_out"] = "technique"
    without = part("held_out_language")
    if len(without):
        found += [without.assign(learnt="without"), part("language").assign(learnt="with")]
        found[-1]["held_out"] = found[-2]["held_out"] = "language"
    if not found:
        return ()
    rows = pd.concat(found, ignore_index=True)
    return power(rows, ("held_out", "setting", "mix", "learnt"), alpha, seed, (50, 100, 200))


def _contaminated(part: Any, alpha: float, seed: int) -> tuple[Cell, ...]:
    """Grid power with attackers in the baseline, beside the clean baselines of the same worlds."""
    dirty = part("contaminated")
    if not len(dirty):
        return ()
    clean = _same_accounts(part("grid"), dirty).assign(setting="0")
    return power(pd.concat([clean, dirty]), ("setting", "mix"), alpha, seed, (50, 100, 500))


def _same_accounts(rows: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    wanted = pd.MultiIndex.from_frame(like[["world", "account_id"]].drop_duplicates())
    return rows[pd.MultiIndex.from_frame(rows[["world", "account_id"]]).isin(wanted)]


def _discoveries(facts: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Mean false discovery proportion of flags over worlds, with a world bootstrap where there are enough."""
    rows = pd.DataFrame(
        [row | {"world": one["world"]} for one in facts for row in one.get("discoveries", ())]
    )
    if rows.empty:
        return ()
    found: list[Mapping[str, Any]] = []
    for share, part in rows.groupby("share", sort=True):
        proportion = (part["false"] / (part["false"] + part["found"]).clip(lower=1)).to_numpy(np.float64)
        rng = np.random.default_rng(0)
        means = proportion[rng.integers(len(proportion), size=(1_000, len(proportion)))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        found.append(
            {
                "attacker_share": float(str(share)),
                "worlds": len(part),
                "attackers": int(part["attackers"].sum()),
                "flagged_attackers": int(part["found"].sum()),
                "flagged_honest": int(part["false"].sum()),
                "fdr": float(proportion.mean()),
                "fdr_low": float(low),
                "fdr_high": float(high),
            }
        )
    return tuple(found)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
