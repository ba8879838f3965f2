"""One world of an evaluation: learn a baseline, test it on honest accounts and on campaigns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from kdguard.scoring.baseline import Baseline
from kdguard.scoring.suite import Suite
from kdguard.simulate.evaluation.contamination import contaminated_rows
from kdguard.simulate.evaluation.discovery import discoveries
from kdguard.simulate.evaluation.learning import learn, score
from kdguard.simulate.evaluation.outcomes import outcome_rows
from kdguard.simulate.evaluation.plan import Plan, Variant
from kdguard.simulate.evaluation.rivalry import Rival, rival_rows
from kdguard.simulate.evaluation.sources import Scene, Source, Traffic, adaptive, grid, in_language
from kdguard.simulate.techniques import LANGUAGES

MakeSuite = Callable[[Sequence[str], Sequence[str]], Suite]
"""From (techniques left out, languages shown; empty = all) to an untaught suite."""
GroupStudy = Callable[[Plan, int, Baseline, Scene], Sequence[Mapping[str, Any]]]
"""Measures groups in one world: rows with `setting`, `campaigns`, `found`, `clusters`, `false`, `purity`."""


@dataclass(frozen=True)
class Contestants:
    """What is evaluated; picklable, so that worlds can run in processes of their own.

    Attributes:
        make_suite: Makes the detectors.
        rivals: Published methods to put beside them.
        source: Where traffic comes from.
        group_study: Measures groups of accounts, or None.
    """

    make_suite: MakeSuite
    source: Source
    rivals: tuple[Rival, ...] = ()
    group_study: GroupStudy | None = None


@dataclass(frozen=True)
class WorldResult:
    """Results of one world: account rows, rivals' rows, and facts about the world as a whole."""

    rows: pd.DataFrame
    rivals: pd.DataFrame
    facts: Mapping[str, Any]


def run_world(plan: Plan, world: int, contestants: Contestants) -> WorldResult:
    """Evaluate one world.

    Args:
        plan: What to do.
        world: Number of the world; with the plan's seed it decides everything drawn.
        contestants: What is evaluated.
    """
    started = time.monotonic()
    source = contestants.source
    scene = source.scene(plan, world)
    suite = contestants.make_suite((), ())
    if contestants.group_study is None:
        suite = accounts_only(suite)
    baseline = learn(suite, scene.teaching, scene.calibration, plan)
    benign = score(scene.test, baseline, plan)
    campaigns = source.campaigns(plan, world, scene, grid(plan), "grid")
    attack = score(campaigns, baseline, plan)
    parts = [
        outcome_rows(benign, scene.test, world=world, part="benign"),
        outcome_rows(attack, campaigns, world=world, part="grid"),
    ]
    evasive = source.campaigns(plan, world, scene, adaptive(plan), "adaptive")
    parts.append(outcome_rows(score(evasive, baseline, plan), evasive, world=world, part="adaptive"))
    facts: dict[str, Any] = {
        "world": world,
        "drift": benign.drift,
        "suspended": benign.suspended,
        "kinds": {name: len(kind.panel) for name, kind in baseline.kinds.items()},
        "discoveries": discoveries(benign, attack, plan, world),
    }
    if scene.shifted is not None:
        shifted = score(scene.shifted, baseline, plan)
        parts.append(outcome_rows(shifted, scene.shifted, world=world, part="shifted"))
        facts |= {"shifted_drift": shifted.drift, "shifted_suspended": shifted.suspended}
    reviews: dict[str, Any] = {}
    for variant in plan.variants_of(world):
        if variant.part == "contaminated":
            plain, share = accounts_only(contestants.make_suite((), ())), float(variant.setting)
            rows, held = contaminated_rows(plan, world, share, plain, source, scene, campaigns)
            parts, reviews[variant.setting] = parts + rows, [asdict(review) for review in held]
        else:
            parts += _variant(plan, world, variant, contestants, scene, baseline, campaigns)
    facts["reviews"] = reviews
    if contestants.group_study is not None:
        facts["groups"] = [dict(row) for row in contestants.group_study(plan, world, baseline, scene)]
    facts["seconds_kdguard"] = round(time.monotonic() - started, 1)
    rivals = pd.DataFrame()
    if world < plan.rival_worlds and contestants.rivals:
        rivals = rival_rows(contestants.rivals, plan, world, scene, campaigns)
    facts["seconds"] = round(time.monotonic() - started, 1)
    return WorldResult(pd.concat(parts, ignore_index=True), rivals, facts)


def _variant(
    plan: Plan,
    world: int,
    variant: Variant,
    contestants: Contestants,
    scene: Scene,
    baseline: Baseline,
    campaigns: Traffic,
) -> list[pd.DataFrame]:
    """Learn a baseline that never saw a technique or language, and test it on the campaigns of that kind."""
    source = contestants.source
    attacks = campaigns
    left_out: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    parts = []
    if variant.part == "held_out_technique":
        left_out = (variant.setting,)
        attacks = _of_technique(campaigns, variant.setting)
    else:
        languages = tuple(language for language in LANGUAGES if language != variant.setting)
        attacks = source.campaigns(
            plan, world, scene, in_language(plan, variant.setting), f"in-{variant.setting}"
        )
        seen = score(attacks, baseline, plan)
        parts.append(outcome_rows(seen, attacks, world=world, part="language", setting=variant.setting))
    suite = accounts_only(contestants.make_suite(left_out, languages))
    changed = learn(suite, scene.teaching, scene.calibration, plan)
    scores = score(attacks, changed, plan)
    return [*parts, outcome_rows(scores, attacks, world=world, part=variant.part, setting=variant.setting)]


def accounts_only(suite: Suite) -> Suite:
    """The same detectors without those of groups, which cost time and change no account's score."""
    return replace(suite, ties=(), statistics=())


def _of_technique(campaigns: Traffic, technique: str) -> Traffic:
    chosen = campaigns.labels.index[campaigns.labels["technique"] == technique]
    return campaigns.of_accounts(np.array(chosen, dtype=object))
