"""Learning what groups of honest owners look like, at `learn_baseline` time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kdguard.features.text import mix
from kdguard.scoring.facts import Facts
from kdguard.scoring.groups.candidates import candidates
from kdguard.scoring.groups.form import learn_total
from kdguard.scoring.groups.habits import habits_of
from kdguard.scoring.groups.pooled import Membership, half_one
from kdguard.scoring.groups.rarity import Rarity, learn_rarity
from kdguard.scoring.groups.reference import GroupReference
from kdguard.scoring.groups.score import score_groups
from kdguard.scoring.groups.ties import Scene
from kdguard.scoring.groups.traces import Traces

if TYPE_CHECKING:
    from kdguard.scoring.baseline import Kind
    from kdguard.scoring.suite import Suite

Codes = npt.NDArray[np.uint64]

DRAWS = {3: 199, 6: 199, 12: 199, 25: 99, 50: 99}
"""Random draws of honest owners, by size."""
FEWEST_LOG_OWNERS = 60
"""Owners of the smallest part of the calibration log in which groups are formed."""
_CUTS = 4


def learn_groups(
    suite: Suite,
    kind: Kind,
    facts: Facts,
    teaching: npt.NDArray[np.bool_],
    calibration: npt.NDArray[np.bool_],
    taught: Sequence[Path],
    ranked: Sequence[Path],
    *,
    prompted: npt.NDArray[np.bool_],
    seed: int = 0,
) -> GroupReference:
    """Learn rarities from teaching owners, and form and score the groups of calibration owners.

    Teaching owners set what is rare, and nobody is ranked among them; so a calibration group and a group of a log to
    be scored stand to them alike.

    Args:
        suite: Detectors with learnt parameters, ties and group statistics.
        kind: The reference kind that holds everybody.
        facts: Facts of all accounts.
        teaching: All accounts of teaching owners, mask of shape (m,).
        calibration: All accounts of calibration owners, mask of shape (m,).
        taught: Folders of spills that hold the former's signals.
        ranked: Folders of spills that hold the latter's.
        prompted: Teaching accounts whose prompts taught the request classifier.
        seed: Key of the random draws.
    """
    with Traces(taught, subset(facts, teaching)) as traces:
        habits = habits_of(traces)
        rarity = learn_rarity(traces, habits, np.unique(facts.owner[prompted]))
        rarity = learn_total(Scene(traces, habits, rarity), suite.ties)
    with Traces(ranked, subset(facts, calibration)) as traces:
        return _reference(suite, kind, traces, rarity, seed)


def subset(facts: Facts, keep: npt.NDArray[np.bool_]) -> Facts:
    """Return the facts of some accounts."""
    return replace(facts, **{item.name: getattr(facts, item.name)[keep] for item in fields(facts)})


def _reference(suite: Suite, kind: Kind, traces: Traces, rarity: Rarity, seed: int) -> GroupReference:
    formed = _formed(traces, rarity, suite, seed)
    spans = np.array(formed.across, np.bool_)
    scores = score_groups(half_one(traces, Membership.of(formed.members, formed.units)), spans, suite, kind)
    drawn, drawn_size = _draws(traces.facts, seed)
    drawn_scores = score_groups(half_one(traces, drawn), np.ones(drawn.groups, np.bool_), suite, kind)
    kept = np.flatnonzero(~np.isnan(scores.score))
    usable = ~np.isnan(drawn_scores.score)
    facts = traces.facts
    owners = [np.unique(facts.owner[np.searchsorted(facts.subject, formed.members[at])]) for at in kept]
    return GroupReference(
        rarity=rarity,
        score=scores.score[kept],
        size=np.array([len(np.unique(formed.units[at])) for at in kept], np.int64),
        across=spans[kept],
        log_owners=np.array(formed.log_owners, np.int64)[kept],
        member_owner=np.concatenate([np.empty(0, np.uint64), *owners]),
        member_group=np.repeat(np.arange(len(kept)), [len(part) for part in owners]),
        draw_score=drawn_scores.score[usable],
        draw_size=drawn_size[usable],
    )


@dataclass(slots=True)
class _Formed:
    """Groups of honest owners, from logs of several sizes."""

    members: list[Codes] = field(default_factory=list)
    units: list[Codes] = field(default_factory=list)
    across: list[bool] = field(default_factory=list)
    log_owners: list[int] = field(default_factory=list)


def _formed(traces: Traces, rarity: Rarity, suite: Suite, seed: int) -> _Formed:
    """Form groups in the whole calibration log, in its halves, quarters and eighths.

    How groups form depends on how many owners there are to tie, so a log is judged by groups from parts of its own
    size. Parts of one cut share no owner; groups of different cuts are never ranked among together.
    """
    habits = habits_of(traces)
    found = _Formed()
    for cut in range(_CUTS):
        part_of = mix(habits.owner ^ mix(np.full(1, seed + cut + 1, np.uint64))) % np.uint64(2**cut)
        if cut and len(habits) // 2**cut < FEWEST_LOG_OWNERS:
            break
        for part in range(2**cut):
            own = habits.among(part_of == part)
            formed = candidates(Scene(traces, own, rarity), suite.ties)
            for members, units, across in zip(formed.members, formed.units, formed.across, strict=True):
                if across or not cut:
                    found.members.append(members)
                    found.units.append(units)
                    found.across.append(bool(across))
                    found.log_owners.append(len(habits) // 2**cut)
    return found


def _draws(facts: Facts, seed: int) -> tuple[Membership, npt.NDArray[np.int64]]:
    """Groups of one random account of each of so many random owners."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(facts))
    _, first = np.unique(facts.owner[order], return_index=True)
    one_each = np.sort(facts.subject[order[first]])
    members = [
        np.sort(rng.choice(one_each, size, replace=False))
        for size, count in DRAWS.items()
        if size <= len(one_each)
        for _ in range(count)
    ]
    owner = [facts.owner[np.searchsorted(facts.subject, part)] for part in members]
    return Membership.of(members, owner), np.array([len(part) for part in members], np.int64)
