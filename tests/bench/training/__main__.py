"""Tokens a second of training, one JSON line a result: `python -m tests.bench.training --size tiny`.

Our engine, alone and as a fleet of 16, against plain loops over transformers and TRL's trainers (`--trl-python`, an
environment of its own). Same first weights, rows, order, objective and fused AdamW, handed over in files. A row whose
first loss or gradient norm differs from a float64 reference, or whose loss after warm-up differs from the others', is
void. Turns are interleaved; medians with 95 % bootstrap intervals. Only supervised tokens count.
"""

from __future__ import annotations

import argparse
import json
import platform
from fnmatch import fnmatch

import torch
import transformers

from tests.bench.training.compare import compare
from tests.bench.training.contenders import contenders
from tests.bench.training.data import SIZES


def main() -> None:
    """Print one JSON line a result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--size", choices=SIZES, action="append", help="default: tiny on a CPU, 10M on a GPU")
    parser.add_argument("--trl-python", help="interpreter of an environment that holds trl 1.16")
    parser.add_argument("--only", action="append", help="a loop's name, * and ? allowed; may be repeated")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--turn-s", type=float, default=1.5, help="seconds a turn and loop, about")
    given = parser.parse_args()
    for name in given.size or [{"cpu": "tiny", "cuda": "10M"}[given.device]]:
        chosen = [
            each
            for each in contenders(name, given.device, given.trl_python)
            if given.only is None or any(fnmatch(each.name, part) for part in given.only)
        ]
        for line in compare(SIZES[name], chosen, given.device, turns=given.turns, turn_s=given.turn_s):
            print(json.dumps(line), flush=True)
    print(
        json.dumps(
            {
                "bench": "versions",
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "device": torch.cuda.get_device_name() if given.device == "cuda" else platform.processor(),
            }
        )
    )


if __name__ == "__main__":
    main()
