"""How many campaigns are found as groups, how pure and how truly: measured on simulated worlds.

Run `python -m kdguard.detectors.query_patterns.coordination.measure --help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from kdguard.features.text import hash_identities
from kdguard.scoring.baseline import POOLED, Baseline, learn_baseline
from kdguard.scoring.facts import gather
from kdguard.scoring.groups.find import find_groups
from kdguard.scoring.groups.outcome import Outcome, compare
from kdguard.scoring.pipeline import encode_into
from kdguard.scoring.spill import Spill
from kdguard.simulate.campaign import Tactics
from kdguard.simulate.pools import Split
from kdguard.simulate.techniques import TECHNIQUES
from kdguard.simulate.traffic import Simulated, campaign_world, simulate
from kdguard.simulate.world import load_world

SHARING = {
    "cards": Tactics(shared_cards=1.0),
    "addresses": Tactics(shared_addresses=1.0),
    "nothing": Tactics(),
    "nothing, paraphrased shards": Tactics(paraphrase=1.0, shards=1.0),
    "bursts": Tactics(synchrony=1.0),
    "pivot": Tactics(pivot=1.0),
    "succession": Tactics(succession=1.0),
}
USUAL = tuple(SHARING)[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        owners: Honest owners of each world.
        accounts: Accounts of its campaign.
        requests: Requests of each.
        seed: Seed of the first world.
        split: Prompts and wordings used; a baseline must not have seen them.
        data: Folder of real prompts, or None.
        fdr: False discovery rate aimed at.
        sharing: What campaigns share, of `SHARING`.
    """

    owners: int = 150
    accounts: int = 100
    requests: int = 20
    seed: int = 90_000
    split: Split = "test"
    data: Path | None = None
    fdr: float = 0.1
    sharing: tuple[str, ...] = USUAL


def outcome(parts: Sequence[Simulated], baseline: Baseline, *, fdr: float = 0.1) -> Outcome:
    """Look for groups in one log made of simulated parts, and compare with its campaigns.

    Raises:
        ValueError: The baseline holds no honest groups.
    """
    if baseline.groups is None:
        raise ValueError("measuring groups needs a baseline learnt with ties, this one has no honest groups")
    accounts = pa.concat_tables([part.accounts for part in parts])
    labels = pa.concat_tables([part.account_labels for part in parts]).to_pandas()
    names = labels["account_id"].to_numpy(dtype=object)
    facts = gather(names, hash_identities(pa.nulls(len(names), pa.string())), accounts)
    with Spill() as spill:
        encode_into(spill, (batch for part in parts for batch in part.exchanges), baseline.suite.encoder)
        groups = find_groups(
            [spill.folder], facts, baseline.suite, baseline.kinds[POOLED], baseline.groups, fdr=fdr
        )
    reported = [
        facts.account_id[np.searchsorted(facts.subject, one.members)].tolist() for one in groups.reported()
    ]
    campaigns = {
        str(name): part["account_id"].tolist()
        for name, part in labels[labels["is_attack"]].groupby("campaign_id")
    }
    return compare(reported, campaigns)


def measure_world(number: int, plan: Plan, baseline: Baseline) -> list[dict[str, object]]:
    """One honest world, alone and with one campaign under each way of sharing; techniques take turns."""
    world = replace(load_world("standard"), owners=plan.owners)
    honest = simulate(world, seed=plan.seed + number, split=plan.split, data=plan.data)
    technique = TECHNIQUES[number % len(TECHNIQUES)]
    rows = [_row("nobody", "", outcome([honest], baseline, fdr=plan.fdr))]
    for sharing in plan.sharing:
        campaign = campaign_world(
            technique=technique,
            accounts=plan.accounts,
            requests=plan.requests,
            tactics=SHARING[sharing],
            name=f"{technique}-{sharing}-{number}",
        )
        thieves = simulate(campaign, seed=plan.seed + 5_000 + number, split=plan.split, data=plan.data)
        rows.append(_row(sharing, technique, outcome([honest, thieves], baseline, fdr=plan.fdr)))
    return rows


def measure(worlds: int, plan: Plan, baseline: Baseline, *, workers: int = 1) -> pd.DataFrame:
    """Measure many worlds; one row a world and way of sharing."""
    job = partial(measure_world, plan=plan, baseline=baseline)
    with ExitStack() as stack:
        run: Callable[..., Iterable[list[dict[str, object]]]] = map
        if workers > 1:
            run = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn"))).map
        found = []
        for number, rows in enumerate(run(job, range(worlds))):
            found += rows
            for row in rows:
                sys.stderr.write(f"world {number}: {row}\n")
    return pd.DataFrame(found)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Recall, share of accounts caught, purity and false discovery, by way of sharing."""
    return rows.groupby("sharing", sort=False).agg(
        worlds=("found", "size"),
        found=("found", "mean"),
        accounts_caught=("coverage", "mean"),
        purity=("purity", "mean"),
        false_discovery=("false_share", "mean"),
        groups=("reported", "sum"),
        false_groups=("false", "sum"),
        logs_with_false=("false", lambda counts: float((counts > 0).mean())),
    )


def _row(sharing: str, technique: str, result: Outcome) -> dict[str, object]:
    return {
        "sharing": sharing,
        "technique": technique,
        "found": float(any(result.found.values())) if result.found else np.nan,
        "coverage": next(iter(result.coverage.values()), np.nan),
        "purity": np.mean(result.purity) if result.purity else np.nan,
        "reported": result.reported,
        "false": result.false,
        "false_share": result.false_share,
    }


def simulated_baseline(owners: int, seed: int, data: Path | None) -> Baseline:
    """A baseline of a simulated provider: a third of the owners teaches, the others calibrate."""
    from kdguard.detectors import default_suite

    world = load_world("standard")
    teaching = simulate(replace(world, owners=owners // 3), seed=seed, split="fit", data=data)
    calibration = simulate(
        replace(world, owners=owners - owners // 3), seed=seed + 1, split="calibration", data=data
    )
    return learn_baseline(
        teaching.exchanges + calibration.exchanges,
        default_suite(),
        accounts=pa.concat_tables([teaching.accounts, calibration.accounts]),
        teachers={str(name) for name in teaching.accounts["account_id"].to_pylist()},
    )


def _lines(rows: pd.DataFrame) -> Iterator[str]:
    yield summarise(rows).round(3).to_string()
    by_technique = rows[rows["technique"] != ""].pivot_table(
        index="technique", columns="sharing", values="found"
    )
    yield by_technique.round(2).to_string()


def main(arguments: Sequence[str]) -> None:
    """Learn a baseline, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--owners", type=int, default=150, help="honest owners of each world")
    parser.add_argument("--baseline-owners", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=90_000)
    parser.add_argument("--data", type=Path, default=None, help="folder of real prompts")
    parser.add_argument("--sharing", nargs="+", choices=tuple(SHARING), default=list(USUAL))
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args(arguments)
    baseline = simulated_baseline(given.baseline_owners, 1_000 + given.seed, given.data)
    plan = Plan(owners=given.owners, seed=given.seed, data=given.data, sharing=tuple(given.sharing))
    rows = measure(given.worlds, plan, baseline, workers=given.workers)
    sys.stdout.write("\n".join(_lines(rows)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
