"""Who of each shipped attack recipe is found: by the shipped baseline, and by own ones of so many owners."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_RECIPES = ("text", "topk", "rationale", "adversarial", "classifier", "hidden_size")
_OWNERS = (300, 600, 1_200, 2_400)


def main() -> None:
    """Print one JSON line a recipe and baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, required=True, help="Folder of attacks and baselines; kept, reused."
    )
    parser.add_argument("--owners", type=int, nargs="*", default=_OWNERS, help="Owners of own baselines.")
    parser.add_argument("--recipes", nargs="*", default=_RECIPES)
    told = parser.parse_args()
    told.work.mkdir(parents=True, exist_ok=True)
    baselines = {"shipped": None} | {str(owners): _baseline(told.work, owners) for owners in told.owners}
    for recipe in told.recipes:
        attack = _made(told.work / recipe, "simulate", "attack", recipe)
        for name, baseline in baselines.items():
            found = {"recipe": recipe, "baseline": name} | _found(attack, baseline)
            print(json.dumps(found), flush=True)


def _baseline(work: Path, owners: int) -> Path:
    """A baseline of ten days of honest owners, who share no text with the attacks."""
    world, saved = work / f"{owners}.toml", work / f"{owners}.safetensors"
    if saved.exists():
        return saved
    world.write_text(f"owners = {owners}\ndays = 10\n")
    traffic = _made(work / f"{owners}", "simulate", "traffic", str(world), "--seed", "1", "--split", "fit")
    log, accounts = str(traffic / "exchanges.parquet"), str(traffic / "accounts.csv")
    _kdguard("baseline", log, "--accounts", accounts, "--out", str(saved))
    return saved


def _made(folder: Path, *command: str) -> Path:
    if not folder.exists():
        _kdguard(*command, "--out", str(folder))
    return folder


def _found(attack: Path, baseline: Path | None) -> dict[str, Any]:
    """Decisions on a campaign's accounts, and the median p of those that can be ranked."""
    own = () if baseline is None else ("--baseline", str(baseline))
    told = _kdguard(
        "score", str(attack / "log.jsonl"), "--accounts", str(attack / "accounts.csv"), *own, "--json"
    )
    labels = pd.read_parquet(attack / "labels_accounts.parquet")
    thieves = set(labels.loc[labels["is_attack"], "account_id"])
    accounts = [one for one in _lines(told) if one.get("subject", {}).get("id") in thieves]
    p_values = [one["p_value"] for one in accounts if one["p_value"] is not None]
    return {
        "accounts": len(accounts),
        "decisions": dict(Counter(one["decision"] for one in accounts)),
        "median_p": round(float(np.median(p_values)), 4) if p_values else None,
    }


def _lines(text: str) -> Iterator[dict[str, Any]]:
    return map(json.loads, text.splitlines())


def _kdguard(*command: str) -> str:
    """What a command prints; the project's own texts only, whatever the environment offers."""
    environment = {name: value for name, value in os.environ.items() if name != "KDGUARD_DATA"}
    run = subprocess.run(
        [sys.executable, "-m", "kdguard", *command],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    if run.returncode > 1:
        raise SystemExit(f"kdguard {' '.join(command)} ended with {run.returncode}:\n{run.stderr}")
    return run.stdout


if __name__ == "__main__":
    main()
