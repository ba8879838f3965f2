"""What an evaluation does: how many worlds, how large, which campaigns, from which seeds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kdguard.simulate.campaign import Tactics
from kdguard.simulate.techniques import LANGUAGES, TECHNIQUES, WRAPPED

LOOKS = (20, 50, 100, 200, 500)
"""Requests seen at which power is read off the running p-value; the checkpoint at or before each counts."""
MIXES = (1.0, 0.5, 0.25, 0.1, 0.05)
ADAPTIVE: tuple[tuple[str, Tactics], ...] = (
    ("none", Tactics()),
    ("paraphrase", Tactics(paraphrase=1.0)),
    ("jitter", Tactics(jitter=1.0)),
    ("warm-up", Tactics(warm_up=0.5)),
    ("shards", Tactics(shards=1.0)),
    ("pivot", Tactics(pivot=0.5)),
    ("bursts", Tactics(synchrony=0.5)),
    ("everything", Tactics(paraphrase=1.0, jitter=0.5, warm_up=0.3, shards=1.0, pivot=0.5)),
)


@dataclass(frozen=True)
class Variant:
    """A baseline learnt under another condition.

    Attributes:
        part: `held_out_technique`, `held_out_language` or `contaminated`.
        setting: The technique or language that learning never saw, or the share of attackers in the baseline.
    """

    part: str
    setting: str


def all_variants() -> tuple[Variant, ...]:
    """Every variant; contaminated baselines, whose figures one world cannot tell, come several times."""
    techniques = [Variant("held_out_technique", name) for name in WRAPPED]
    languages = [Variant("held_out_language", name) for name in LANGUAGES]
    hidden = [Variant("contaminated", share) for share in ("0.01", "0.05", "0.01", "0.05", "0.01")]
    order: list[Variant] = []
    for at in range(max(len(techniques), len(languages))):
        order += techniques[at : at + 1] + hidden[at : at + 1] + languages[at : at + 1]
    return tuple(order)


@dataclass(frozen=True)
class Plan:
    """Everything that decides an evaluation's numbers, besides the detectors.

    World `i` has a baseline of its own, learnt from a teaching and a calibration world, and tested on a
    benign world and on campaigns that share no text with either.

    Attributes:
        worlds: Independent worlds, each with its own baseline.
        seed: Seed of all of them.
        world: Packaged world or TOML file that the benign owners follow.
        teaching_owners, calibration_owners, test_owners: Benign owners a world.
        shifted_owners: Benign owners of the `shifted` world, tested against the unshifted baseline.
        operators: Campaigns a technique and mix; each has a script of its own.
        accounts: Accounts a campaign.
        requests: Requests an attack account; power at fewer is read off the running p-value.
        techniques, mixes: The grid of campaigns.
        variants: Variants a world; all are visited in turn.
        reviews: Reviews of its own month that a contaminated baseline gets.
        rival_worlds: The first so many worlds also run the rivals.
        rival_accounts: Most accounts of each of teaching, calibration, benign test that rivals see.
        rival_looks: First requests of an account that rivals see.
        alpha: Level of an alarm.
        fdr: False discovery rate aimed at.
        data: Folder with real prompts; None uses the project's own generators.
    """

    worlds: int = 2
    seed: int = 0
    world: str = "standard"
    teaching_owners: int = 1_500
    calibration_owners: int = 2_400
    test_owners: int = 1_000
    shifted_owners: int = 300
    operators: int = 3
    accounts: int = 3
    requests: int = 500
    techniques: tuple[str, ...] = TECHNIQUES
    mixes: tuple[float, ...] = MIXES
    variants: int = 1
    reviews: int = 1
    rival_worlds: int = 1
    rival_accounts: int = 400
    rival_looks: tuple[int, ...] = (50, 100, 200)
    alpha: float = 0.01
    fdr: float = 0.1
    data: Path | None = None

    def seed_of(self, world: int, part: str) -> int:
        """Seed of one part of one world: a hash, so that no reported seed is one somebody tuned on."""
        name = f"kdguard evaluation/{self.seed}/{world}/{part}"
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "little")

    def variants_of(self, world: int) -> tuple[Variant, ...]:
        """Variants that a world measures."""
        known = all_variants()
        return tuple(known[(world * self.variants + at) % len(known)] for at in range(self.variants))

    def with_baselines_of(self, owners: int) -> Plan:
        """The same with baselines of so many owners, a third of whom teach, as `kdguard baseline` splits them."""
        return replace(self, teaching_owners=owners // 3, calibration_owners=owners - owners // 3)

    def digest(self, suite: str) -> str:
        """Digest of the plan and of the detectors; the number of worlds is left out, so a study can grow.

        Args:
            suite: Name of the detectors, parameters included.
        """
        values = asdict(self) | {"suite": suite, "worlds": None}
        text = json.dumps(values, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def full_plan(seed: int = 0, world: str = "standard", data: Path | None = None) -> Plan:
    """Twenty worlds of larger baselines, over 20,000 benign test accounts, every variant once."""
    return Plan(
        worlds=20,
        seed=seed,
        world=world,
        teaching_owners=2_000,
        calibration_owners=4_000,
        rival_worlds=2,
        data=data,
    )
