"""Students a minute on a CPU: sixteen trained together against the same sixteen one after the other.

`python -m tests.bench.fleets`, one JSON line a shape and batch. Both are whole calls of `train_fleet`, building
included, in turns; seconds are the process's own. A model is a student of 60,000 supervised tokens, top-20 and text.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from kdguard.distill.students.fleet import train_fleet
from kdguard.distill.students.plan import Mix, Plan, Slot
from tests.bench.training.data import SIZES, Size, make
from tests.bench.training.intervals import median_interval

FLEET = 16
MODEL_TOKENS = 60_000
CASES = (("micro", 1), ("micro", 4), ("micro", 16), ("tiny", 1), ("tiny", 4), ("tiny", 16))


def seconds(size: Size, slots: list[Slot], steps: int, *, together: bool) -> float:
    """Process seconds to train all slots."""
    micro = min(size.rows, 4) if together else None
    plan = Plan(steps=steps, rows=size.rows, micro_rows=micro)
    groups = [slots] if together else [[slot] for slot in slots]
    begin = time.process_time()
    for group in groups:
        train_fleet(size.shape, group, plan)
    return time.process_time() - begin


def measured(size: Size, steps: int, turns: int) -> dict[str, Any]:
    """Both ways in turns, forwards and backwards."""
    mix = Mix(text=0.5, soft=0.5)
    slots = [Slot(name=str(at), data=make(size, at), mix=mix, seed=at) for at in range(FLEET)]
    data = slots[0].data
    tokens = FLEET * steps * size.rows * data.supervised / data.rows
    found: dict[bool, list[float]] = {True: [], False: []}
    seconds(size, slots[:2], 1, together=True)  # warm up
    for turn in range(turns):
        for together in (True, False) if turn % 2 else (False, True):
            found[together].append(seconds(size, slots, steps, together=together))
    rate = {together: [60 * tokens / MODEL_TOKENS / spent for spent in found[together]] for together in found}
    ratio = [alone / fleet for alone, fleet in zip(found[False], found[True], strict=True)]
    return {
        "bench": "fleets",
        "shape": size.name,
        "rows": size.rows,
        "models_per_minute_together": median_interval(rate[True]).told(1),
        "models_per_minute_alone": median_interval(rate[False]).told(1),
        "ratio": median_interval(ratio).told(2),
    }


def results(turns: int, cases: tuple[tuple[str, int], ...] = CASES) -> Iterator[dict[str, Any]]:
    """One line a case; about as much work in each."""
    for name, rows in cases:
        yield measured(replace(SIZES[name], rows=rows), max(1, 16 // rows), turns)


def main() -> None:
    """Print one JSON line a result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    torch.set_num_threads(1)
    for line in results(parser.parse_args().turns):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
