"""Tokens a second of training, one JSON line a result: `python -m tests.bench.bench_training`.

Our loop, our fleet of 16, a plain loop over transformers, and TRL's trainer where it is installed (a virtual
environment of its own; it is no dependency). Same first weights, rows, objective (text, top-20 soft targets) and fused
AdamW. Parity first: a loop whose first loss differs from ours is void. Then every loop takes its turn, repeatedly,
and medians are compared. Only supervised tokens count. On a GPU where there is one, otherwise one CPU thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch

from tests.bench.training_data import CPU_SIZES, GPU_SIZES, Size, make
from tests.bench.training_loops import Loop, ours, plain, trl

SLOTS = 16


def loops(size: Size, device: torch.device, *, fast: bool) -> dict[str, Callable[[], Loop]]:
    """The loops at one size, not yet built.

    Args:
        size: Which size.
        device: Where.
        fast: bfloat16 and compiled, for ours and theirs alike; otherwise float32 and eager.
    """
    datas = [make(size, seed, rows=4 * size.rows) for seed in range(SLOTS)]
    how: dict[str, Any] = {"narrow": fast, "compiled": fast}
    chosen: dict[str, Callable[[], Loop]] = {
        "ours": lambda: ours(size, datas[:1], device, **how),
        f"ours, fleet of {SLOTS}": lambda: ours(size, datas, device, **how),
        "plain transformers": lambda: plain(size, datas[0], device, **how),
    }
    if find_spec("trl"):
        chosen["TRL SFTTrainer"] = lambda: trl(size, datas[0], device, **how)
    return chosen


def compare(size: Size, device: torch.device, *, fast: bool) -> Iterator[dict[str, Any]]:
    """Build, check parity, time in turns; one line a loop."""
    how = {
        "size": size.name,
        "device": device.type,
        "arithmetic": "bfloat16" if fast else "float32",
        "compiled": fast,
    }
    built, memory = {}, {}
    for name, build in loops(size, device, fast=fast).items():
        before = _reset_memory(device)
        built[name] = build()
        memory[name] = _peak_memory(device) - before
    reference = built["ours"].first_loss
    tolerance = 2e-2 if fast else 1e-4
    seconds: dict[str, list[float]] = {name: [] for name in built}
    for turn in range(size.repeats):
        for name in sorted(built, reverse=bool(turn % 2)):
            seconds[name].append(built[name].run(size.timed))
    supervised = make(size, 0, rows=4 * size.rows)
    per_step = supervised.supervised / supervised.rows * size.rows
    speed = {
        name: loop.students * per_step * size.timed / statistics.median(seconds[name])
        for name, loop in built.items()
    }
    for name, loop in built.items():
        same = abs(loop.first_loss / reference - 1) < tolerance
        yield how | {
            "loop": name,
            "parity": same,
            "first_loss": round(loop.first_loss, 5),
            "supervised_tokens_per_s": round(speed[name]) if same else None,
            "all_tokens_per_s": round(speed[name] * size.rows * size.length / per_step) if same else None,
            "ratio_to_plain": round(speed[name] / speed["plain transformers"], 2) if same else None,
            "spread": [round(min(seconds[name]), 3), round(max(seconds[name]), 3)],
            "build_s": round(loop.build_s, 1),
            "peak_mib": round(memory[name] / 2**20) if device.type == "cuda" else None,
        }


def _reset_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _peak_memory(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else 0


def main() -> None:
    """Print one JSON line a result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", action="append", help="names of sizes; all by default")
    parser.add_argument(
        "--fast", action=argparse.BooleanOptionalAction, help="bfloat16, compiled; default on a GPU"
    )
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(1)
    fast = device.type == "cuda" if given.fast is None else given.fast
    for size in GPU_SIZES if device.type == "cuda" else CPU_SIZES:
        if given.size is None or size.name in given.size:
            for line in compare(size, device, fast=fast):
                print(json.dumps(line), flush=True)
    print(json.dumps({"bench": "versions", "torch": torch.__version__, "device": _device_name(device)}))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu, one thread"


if __name__ == "__main__":
    main()
