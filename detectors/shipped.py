"""The baseline that comes with kdguard: made from the simulated world alone, good for reviews, never for flags.

Made by `python -m kdguard.detectors.shipped`, which needs no data and takes about a minute.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from kdguard.detectors import default_suite
from kdguard.scoring.baseline import Baseline, learn_baseline
from kdguard.scoring.store import save_baseline
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import load_world

SHIPPED = Path(__file__).with_name("shipped.safetensors")
_TEACHING_OWNERS = 600
_CALIBRATION_OWNERS = 2400


def learn_shipped(seed: int = 20261123) -> Baseline:
    """Learn the shipped baseline: teaching and calibration owners share no text."""
    world = load_world("standard")
    teaching = simulate(replace(world, owners=_TEACHING_OWNERS), seed=seed, split="fit")
    calibration = simulate(replace(world, owners=_CALIBRATION_OWNERS), seed=seed + 1, split="calibration")
    return learn_baseline(
        teaching.exchanges + calibration.exchanges,
        default_suite(third_party=False),
        accounts=pa.concat_tables([teaching.accounts, calibration.accounts]),
        teachers={str(name) for name in teaching.accounts["account_id"].to_pylist()},
    )


if __name__ == "__main__":
    print(save_baseline(learn_shipped(), SHIPPED).digest)
