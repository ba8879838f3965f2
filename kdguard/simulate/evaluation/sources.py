"""Where an evaluation's traffic comes from, and which campaigns it holds."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.exchanges import store
from kdguard.simulate.campaign import Campaign
from kdguard.simulate.evaluation.plan import ADAPTIVE, Plan
from kdguard.simulate.pools import Split
from kdguard.simulate.techniques import WRAPPED
from kdguard.simulate.traffic import Simulated, simulate
from kdguard.simulate.world import World, load_world

LABELS = ("owner_id", "campaign_id", "technique", "mix", "workload", "language", "tactics")
VARIANT_REQUESTS = 200


@dataclass(frozen=True)
class Traffic:
    """Exchanges with an accounts table and what is known of the truth.

    Attributes:
        exchanges: Batches; can be iterated over more than once.
        accounts: Accounts table; None where a log came without.
        labels: What is known of each account, indexed by account id, columns `LABELS`.
    """

    exchanges: Iterable[pa.RecordBatch]
    accounts: pa.Table | None
    labels: pd.DataFrame

    @classmethod
    def of(cls, simulated: Simulated) -> Traffic:
        """Traffic of a simulated world, its exchanges kept on disk."""
        labels = simulated.account_labels.to_pandas().set_index("account_id")[list(LABELS)]
        return cls(Kept(simulated.exchanges), simulated.accounts, labels)

    def of_accounts(self, wanted: npt.NDArray[np.object_]) -> Traffic:
        """The traffic of some accounts only; their rows in the accounts table and labels stay."""
        return replace(self, exchanges=Filtered(self.exchanges, pa.array(wanted, pa.string())))


class Kept:
    """Exchanges in a file of their own, read anew each time they are iterated over; it goes when nobody has this.

    A world's traffic is needed to its end, for one part of the study after the other, and takes gigabytes in memory.

    Attributes:
        path: The file.
    """

    def __init__(self, exchanges: Iterable[pa.RecordBatch]) -> None:
        handle, name = tempfile.mkstemp(prefix="kdguard-world-", suffix=".parquet")
        os.close(handle)
        self.path = Path(name)
        weakref.finalize(self, self.path.unlink, missing_ok=True)
        store.write(exchanges, self.path)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return store.read(self.path)


@dataclass(frozen=True)
class Filtered:
    """Batches of chosen accounts, filtered while they are read.

    Attributes:
        exchanges: All batches; iterated over each time this is.
        wanted: Account ids to keep.
    """

    exchanges: Iterable[pa.RecordBatch]
    wanted: pa.Array[Any]

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.exchanges:
            kept = batch.filter(pc.is_in(batch.column("account_id"), self.wanted))
            if kept.num_rows:
                yield kept


@dataclass(frozen=True)
class Scene:
    """Benign traffic of one world.

    Attributes:
        teaching: Accounts that teach the classifier and the scales.
        calibration: Accounts that others are ranked among.
        test: Accounts that neither saw.
        shifted: Accounts of another mix of strata, or None.
    """

    teaching: Traffic
    calibration: Traffic
    test: Traffic
    shifted: Traffic | None = None


class Source(Protocol):
    """Gives each world its traffic."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def scene(self, plan: Plan, world: int) -> Scene:
        """Benign traffic of a world."""
        ...

    def campaigns(
        self, plan: Plan, world: int, scene: Scene, campaigns: Sequence[Campaign], part: str
    ) -> Traffic:
        """Attack accounts, none of whose texts the baseline has seen."""
        ...


@dataclass(frozen=True)
class SimulatedSource:
    """Everything is simulated; the splits share no prompt and the wordings of attacks are new to the test."""

    name: str = "simulated worlds"

    def scene(self, plan: Plan, world: int) -> Scene:
        """Benign traffic of a world."""

        def part(name: str, like: World, owners: int, split: Split) -> Traffic:
            chosen = replace(like, owners=owners, campaigns=())
            return Traffic.of(simulate(chosen, seed=plan.seed_of(world, name), split=split, data=plan.data))

        like = load_world(plan.world)
        shifted = None
        if plan.shifted_owners:
            shifted = part("shifted", load_world("shifted"), plan.shifted_owners, "test")
        return Scene(
            teaching=part("teaching", like, plan.teaching_owners, "fit"),
            calibration=part("calibration", like, plan.calibration_owners, "calibration"),
            test=part("test", like, plan.test_owners, "test"),
            shifted=shifted,
        )

    def campaigns(
        self, plan: Plan, world: int, scene: Scene, campaigns: Sequence[Campaign], part: str
    ) -> Traffic:
        """Attack accounts on simulated benign skeletons; `scene` is not looked at."""
        del scene
        split: Split = "calibration" if part.startswith("hidden") else "test"
        alone = replace(load_world(plan.world), owners=0, campaigns=tuple(campaigns))
        return Traffic.of(simulate(alone, seed=plan.seed_of(world, part), split=split, data=plan.data))


def grid(plan: Plan) -> tuple[Campaign, ...]:
    """Every technique at every mix, several operators each."""
    return tuple(
        Campaign(technique, f"{technique}-{mix}-{at}", plan.accounts, plan.requests, mix)
        for technique in plan.techniques
        for mix in plan.mixes
        for at in range(plan.operators)
    )


def adaptive(plan: Plan) -> tuple[Campaign, ...]:
    """Four techniques, pure and at a quarter, under each tactic; `none` is the comparison."""
    return tuple(
        Campaign(technique, f"{name}-{technique}-{mix}", plan.accounts, VARIANT_REQUESTS, mix, None, tactics)
        for name, tactics in ADAPTIVE
        for technique in ("cot_elicit", "trace_coercion", "rubric_grade", "evol_instruct")
        for mix in (1.0, 0.25)
    )


def in_language(plan: Plan, language: str) -> tuple[Campaign, ...]:
    """Every worded technique in one language, pure and at a quarter."""
    return tuple(
        Campaign(technique, f"{technique}-{mix}-{at}", plan.accounts, VARIANT_REQUESTS, mix, language)
        for technique in WRAPPED
        for mix in (1.0, 0.25)
        for at in range(2)
    )


def hidden(plan: Plan, accounts: int) -> tuple[Campaign, ...]:
    """Undetected attackers for a baseline: every technique in turn, honest volumes, pure to a tenth."""
    return tuple(
        Campaign(
            plan.techniques[at % len(plan.techniques)], f"hidden-{at}", 1, None, (1.0, 0.5, 0.25, 0.1)[at % 4]
        )
        for at in range(accounts)
    )
