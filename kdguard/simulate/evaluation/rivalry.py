"""Published methods on the same worlds: each with its own threshold, and re-calibrated like kdguard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.features.text import hash_identities, mix
from kdguard.simulate.evaluation.plan import Plan
from kdguard.simulate.evaluation.sources import Scene, Traffic
from kdguard.stats.conformal import conformal_p, references_needed

Floats = npt.NDArray[np.float64]
SEEN = (
    "account_id",
    "time",
    "request_id",
    "prompt",
    "refused",
    "model",
    "output_tokens",
    "logprobs",
    "status",
)
RECALIBRATED = "re-calibrated"


@dataclass(frozen=True)
class Conversations:
    """The first requests of m accounts, in an order that a seed decides.

    Attributes:
        account_id: Ids, shape (m,).
        indptr: Requests of account i are rows `indptr[i]:indptr[i + 1]`, in order of time, shape (m + 1,).
        table: Columns `SEEN` of the n requests.
    """

    account_id: npt.NDArray[np.object_]
    indptr: npt.NDArray[np.int64]
    table: pa.Table

    def __len__(self) -> int:
        return len(self.account_id)

    @property
    def prompts(self) -> pa.Array[Any]:
        """Prompts of the n requests; null where the log has none."""
        return self.table.column("prompt").combine_chunks()

    def first(self, requests: int, most: int) -> Conversations:
        """The first `requests` of at most `most` accounts; accounts with fewer requests are left out."""
        keep = np.flatnonzero(np.diff(self.indptr) >= requests)[:most]
        rows = (self.indptr[keep][:, None] + np.arange(requests)[None, :]).ravel()
        return Conversations(
            self.account_id[keep], np.arange(len(keep) + 1) * requests, self.table.take(rows)
        )


class Rival(Protocol):
    """A published detector of extraction, re-implemented."""

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def source(self) -> str:
        """Where it was published, and what stands in for what."""
        ...

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Its own alarm levels on the scale of `score`, by name; an account at or above one alarms."""
        ...

    def fit(self, benign: Conversations, requests: int, seed: int) -> Self:
        """Return the method fitted on honest accounts, to judge the first `requests` of an account."""
        ...

    def score(self, accounts: Conversations) -> Floats:
        """Score m accounts of equal length, shape (m,); larger is more suspicious, NaN = cannot tell."""
        ...


def rival_rows(
    rivals: Sequence[Rival], plan: Plan, world: int, scene: Scene, campaigns: Traffic
) -> pd.DataFrame:
    """Run every rival on a bounded draw of one world's accounts.

    Args:
        rivals: Methods, not fitted.
        plan: Bounds and level.
        world: Number of the world.
        scene: Honest accounts: teaching fits, calibration re-calibrates, test tests.
        campaigns: Attack accounts; two a technique and mix take part.

    Returns:
        One row a rival, look, rule and account: `alarm` is 1, 0, or NaN where the method abstains.
    """
    most, longest = plan.rival_accounts, max(plan.rival_looks)
    parts_of = (scene.teaching, one_an_owner(scene.calibration, plan.seed), scene.test)
    benign = [converse(part, longest, plan.seed) for part in parts_of]
    few = campaigns.labels.groupby(["technique", "mix", "campaign_id"], sort=True).head(1)
    few = few.groupby(["technique", "mix"], sort=True).head(2)
    attack = converse(campaigns.of_accounts(np.array(few.index, dtype=object)), longest, plan.seed)
    parts = []
    for rival in rivals:
        for look in plan.rival_looks:
            teaching, calibration, test = (part.first(look, most) for part in benign)
            fitted = rival.fit(teaching, look, plan.seed_of(world, "rivals"))
            references = fitted.score(calibration)
            references = references[~np.isnan(references)]
            for part, accounts in (("benign", test), ("grid", attack.first(look, len(few)))):
                scores = fitted.score(accounts)
                frame = pd.DataFrame({"account_id": accounts.account_id.astype(str), "part": part})
                frame["world"], frame["look"], frame["rival"] = world, look, rival.name
                for rule, level in fitted.thresholds.items():
                    parts.append(frame.assign(rule=rule, alarm=_alarms(scores >= level, scores)))
                if len(references) >= references_needed(plan.alpha):
                    alarms = conformal_p(scores, references) <= plan.alpha
                    parts.append(frame.assign(rule=RECALIBRATED, alarm=_alarms(alarms, scores)))
    found = pd.concat(parts, ignore_index=True)
    truth = few.rename_axis("account_id")[["technique", "mix", "campaign_id"]]
    return found.join(truth, on="account_id")


def one_an_owner(traffic: Traffic, seed: int) -> Traffic:
    """The traffic of one account of every owner, drawn by seed."""
    drawn = traffic.labels.sample(frac=1, random_state=seed % 2**32).drop_duplicates("owner_id")
    return traffic.of_accounts(np.array(sorted(drawn.index), dtype=object))


def converse(traffic: Traffic, requests: int, seed: int) -> Conversations:
    """The first requests of every account, accounts in an order drawn by seed."""
    batches = [pa.Table.from_batches([batch]).select(SEEN) for batch in traffic.exchanges]
    table = pa.concat_tables(batches).filter(pc.is_valid(pc.field("account_id")))
    key = np.uint64(mix(np.array([seed + 11], np.uint64))[0])
    draw = mix(hash_identities(table.column("account_id").combine_chunks()) ^ key)
    table = table.append_column("draw", pa.array(draw))
    table = table.sort_by([(name, "ascending") for name in ("draw", "account_id", "time", "request_id")])
    draw = table.column("draw").to_numpy()
    start = np.flatnonzero(np.concatenate(([True], draw[1:] != draw[:-1])))
    kept = np.minimum(np.diff(np.append(start, len(draw))), requests)
    rows = np.repeat(start, kept) + np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    names = table.column("account_id").take(start.astype(np.int64)).to_numpy(zero_copy_only=False)
    return Conversations(names.astype(object), np.concatenate(([0], np.cumsum(kept))), table.take(rows))


def _alarms(alarm: npt.NDArray[np.bool_], scores: Floats) -> Floats:
    return np.where(np.isnan(scores), np.nan, alarm.astype(np.float64))
