"""A provider's own log as the honest traffic; copies of its own accounts become the attackers.

An injected account is one of the provider's test accounts under another name, with some of its prompts
replaced: extraction wording around the provider's own prompts, or, for techniques that send bare texts,
texts of the simulator. Times, sizes, models and the account's record stay those of the honest account, so
that what is found is the extraction and not a difference between simulated and real customers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kdguard.errors import InputError
from kdguard.exchanges.schema import ACCOUNTS, EXCHANGES
from kdguard.features.text import hash_identities, mix
from kdguard.scoring.facts import Facts, gather
from kdguard.simulate.campaign import Campaign
from kdguard.simulate.evaluation.injection import Injected, inject
from kdguard.simulate.evaluation.plan import Plan
from kdguard.simulate.evaluation.sources import LABELS, Scene, Traffic
from kdguard.simulate.grammar import Half

TEACHING, CALIBRATION = 0.2, 0.5
"""Shares of the owners that teach and that calibrate; the others test."""
FEWEST_SKELETON_REQUESTS = 20
FEWEST_OWNERS = 200
_MOST_SKELETONS = 400


@dataclass(frozen=True)
class OwnLog:
    """A log, believed honest; "worlds" are repeated splits of it and not independent of each other.

    Attributes:
        exchanges: The log; re-readable, and picklable when worlds run in processes of their own.
        accounts: Accounts table, or None.
        name: What the report calls it.
    """

    exchanges: Iterable[pa.RecordBatch]
    accounts: pa.Table | None = None
    name: str = "own log"

    def scene(self, plan: Plan, world: int) -> Scene:
        """Split the log's owners into teaching, calibration and test, anew for every world.

        Raises:
            InputError: Fewer than 200 owners.
        """
        facts = self._facts()
        owners = np.unique(facts.owner)
        if len(owners) < FEWEST_OWNERS:
            raise InputError(f"--mix-into needs logs of at least {FEWEST_OWNERS} owners, got {len(owners)}")
        key = np.uint64(mix(np.array([plan.seed_of(world, "split")], np.uint64))[0])
        place = mix(facts.owner ^ key).astype(np.float64) / 2**64
        taught, ranked = place < TEACHING, place < TEACHING + CALIBRATION

        def part(chosen: npt.NDArray[np.bool_]) -> Traffic:
            whole = Traffic(self.exchanges, self.accounts, _labels(facts, chosen))
            return whole.of_accounts(facts.account_id[chosen])

        return Scene(teaching=part(taught), calibration=part(~taught & ranked), test=part(~ranked))

    def campaigns(
        self, plan: Plan, world: int, scene: Scene, campaigns: Sequence[Campaign], part: str
    ) -> Traffic:
        """Turn copies of honest accounts into attackers.

        Tactics other than paraphrase, warm-up and log-probabilities need a simulated world; campaigns with
        them are left out.
        """
        host = {"hidden-teaching": scene.teaching, "hidden-calibration": scene.calibration}.get(
            part, scene.test
        )
        rng = np.random.default_rng(plan.seed_of(world, part))
        skeletons = _skeletons(host, plan.requests, rng)
        known = [campaign for campaign in campaigns if _can_inject(campaign)]
        split: Half = "fit" if part.startswith("hidden") else "test"
        injected = [
            attacker
            for campaign in known
            for attacker in inject(
                campaign, skeletons, plan.requests, rng, f"{world}-{part}", split, plan.data
            )
        ]
        return _traffic(injected, self.accounts)

    def _facts(self) -> Facts:
        orgs: dict[str, int] = {}
        for batch in self.exchanges:
            pairs = pa.table(
                {
                    "account": batch.column("account_id"),
                    "org": pa.array(hash_identities(batch.column("org_id"))),
                }
            )
            for row in pairs.group_by("account").aggregate([("org", "max")]).to_pylist():
                if row["account"] is not None:
                    orgs[row["account"]] = max(orgs.get(row["account"], 0), row["org_max"])
        names = np.array(sorted(orgs), dtype=object)
        return gather(names, np.array([orgs[name] for name in names], np.uint64), self.accounts)


def _can_inject(campaign: Campaign) -> bool:
    moves = campaign.tactics
    return not any((moves.jitter, moves.shards, moves.pivot, moves.synchrony, moves.succession))


def _labels(facts: Facts, chosen: npt.NDArray[np.bool_]) -> pd.DataFrame:
    truth = {name: "" for name in LABELS} | {"mix": 0.0, "workload": "own log"}
    frame = pd.DataFrame(truth, index=pd.Index(facts.account_id[chosen], name="account_id"))
    frame["owner_id"] = [f"{int(owner):016x}" for owner in facts.owner[chosen]]
    return frame


def _skeletons(host: Traffic, requests: int, rng: np.random.Generator) -> list[pa.Table]:
    """The first requests of a draw of accounts with at least twenty, in order of time."""
    counts: Counter[str] = Counter()
    for batch in host.exchanges:
        counts.update(name for name in batch.column("account_id").to_pylist() if name is not None)
    able = np.array(
        sorted(name for name, count in counts.items() if count >= FEWEST_SKELETON_REQUESTS), dtype=object
    )
    if not len(able):
        raise InputError(f"--mix-into needs accounts with {FEWEST_SKELETON_REQUESTS} requests, got none")
    chosen = np.sort(
        rng.choice(able.astype(str), size=min(_MOST_SKELETONS, len(able)), replace=False)
    ).astype(object)
    parts = list(host.of_accounts(chosen).exchanges)
    table = pa.Table.from_batches(parts, schema=EXCHANGES)
    table = table.sort_by([(name, "ascending") for name in ("account_id", "time", "request_id", "choice")])
    names = table.column("account_id").to_numpy(zero_copy_only=False).astype(str)
    start = np.flatnonzero(np.concatenate(([True], names[1:] != names[:-1])))
    size = np.minimum(np.diff(np.append(start, len(names))), requests)
    return [table.slice(int(at), int(count)) for at, count in zip(start, size, strict=True)]


def _traffic(injected: Sequence[Injected], accounts: pa.Table | None) -> Traffic:
    """Injected accounts with their hosts' records, but owners of their own."""
    frame = pd.DataFrame([one.labels for one in injected]).set_index("account_id")
    frame = frame[list(LABELS)]
    batches = pa.concat_tables([one.exchanges for one in injected]).combine_chunks().to_batches(16_384)
    if accounts is None:
        return Traffic(tuple(batches), None, frame)
    known = accounts.to_pandas().drop_duplicates("account_id").set_index("account_id")
    records = known.reindex([one.host for one in injected]).assign(org_id=None, payment_hash=None)
    records.index = pd.Index([one.labels["account_id"] for one in injected], name="account_id")
    records = records[records.notna().any(axis=1)].reset_index()
    table = pa.Table.from_pandas(records, schema=ACCOUNTS, preserve_index=False)
    return Traffic(tuple(batches), pa.concat_tables([accounts, table]), frame)
