"""Learn the shipped fusion weights: `python -m kdguard.detectors.query_patterns.teach`.

Each round hides one technique from the request classifier, so the weights are learnt on scores that a technique
gets when its wording is new, not on scores of memorised phrases. Texts come from the project's own generators.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.detectors import default_suite
from kdguard.detectors.query_patterns.fusion import fit_weights
from kdguard.detectors.query_patterns.technique import TechniqueClassifier
from kdguard.scan import CHECKPOINTS
from kdguard.scoring.baseline import POOLED, Baseline, learn_baseline
from kdguard.scoring.score import fold_log
from kdguard.scoring.spill import Spill
from kdguard.simulate.campaign import Campaign
from kdguard.simulate.techniques import WRAPPED
from kdguard.simulate.traffic import Simulated, simulate
from kdguard.simulate.world import load_world

FUSION = Path(__file__).with_name("fusion.json")
SEED = 9_000
_MIXES = (1.0, 0.5, 0.25, 0.1)
_AT = tuple(CHECKPOINTS.index(count) for count in (20, 40, 80, 160))
_UNWRAPPED = ("knockoff", "logprob_harvest")

Floats = npt.NDArray[np.float64]


def rounds(seed: int = SEED) -> Iterator[tuple[Floats, npt.NDArray[np.bool_]]]:
    """Simulate one world a hidden technique; yield rarities and whether they are attackers'."""
    world = load_world("standard")
    for at, hidden in enumerate(WRAPPED):
        teaching = simulate(replace(world, owners=500), seed=seed + at, split="fit")
        honest = simulate(replace(world, owners=800), seed=seed + 100 + at, split="calibration")
        suite = replace(
            default_suite(), technique=TechniqueClassifier.untrained(leave_out=[hidden], wordings="fit")
        )
        baseline = learn_baseline(
            teaching.exchanges + honest.exchanges,
            suite,
            accounts=pa.concat_tables([teaching.accounts, honest.accounts]),
            teachers={str(name) for name in teaching.accounts["account_id"].to_pylist()},
        )
        benign = _rarity(honest, baseline)
        yield benign, np.zeros(len(benign), np.bool_)
        known = WRAPPED[(at + 3) % len(WRAPPED)]
        campaigns = tuple(
            Campaign(technique, f"{technique}-{mix}-{operator}", accounts=2, requests=180, mix=mix)
            for technique in (hidden, known, *_UNWRAPPED)
            for mix in _MIXES
            for operator in range(6)
        )
        attack = replace(world, owners=0, campaigns=campaigns)
        rows = _rarity(simulate(attack, seed=seed + 200 + at, split="calibration"), baseline)
        yield rows, np.ones(len(rows), np.bool_)


def _rarity(simulated: Simulated, baseline: Baseline) -> Floats:
    with Spill() as spill:
        profiles, _ = fold_log(simulated.exchanges, baseline, spill)
    rows = profiles.trajectories
    rows = rows.take(np.isin(rows.checkpoint, _AT))
    return baseline.kinds[POOLED].scale.rarity(rows)


def main() -> None:
    """Learn and write the weights."""
    parts = list(rounds())
    weights = fit_weights(
        np.concatenate([rows for rows, _ in parts]),
        np.concatenate([attack for _, attack in parts]),
        default_suite().outputs,
    )
    FUSION.write_text(json.dumps({"seed": SEED, "weights": weights}, indent=2) + "\n")
    print(FUSION.read_text())


if __name__ == "__main__":
    main()
