"""Does distillation work, and what do compact soft targets cost? One JSON line a result.

`python -m tests.bench.distillation` trains two teachers from nothing, asks one of them as a customer would, and trains
students from its answers by whole distributions, top-20 with tail, sampled soft labels and text alone, beside controls
that never saw an answer of it; all at equal supervised tokens, several seeds each. Held-out: fresh prompts of the test
split. Intervals are 95 % over seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from tests.bench.distillation.experiment import experiment
from tests.bench.distillation.setting import SETTINGS


def main() -> None:
    """Print one JSON line a result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=SETTINGS, default="medium")
    parser.add_argument("--draws", type=int, help="draws a position of the sampled soft labels")
    parser.add_argument("--tokens", type=int, help="supervised tokens of every student")
    parser.add_argument(
        "--folder", type=Path, help="keeps what is done: stopped and called again, it goes on"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    told = {name: value for name in ("draws", "tokens") if (value := getattr(given, name)) is not None}
    with tempfile.TemporaryDirectory() as fresh:
        for line in experiment(replace(SETTINGS[given.setting], **told), given.folder or Path(fresh)):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
