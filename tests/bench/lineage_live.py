"""What stands beside lineage verdicts, measured on answers of real models: drift, verbatim overlap, withheld verdicts.

`KDGUARD_DATA=... python -m tests.bench lineage-live`: one JSON line a result, some minutes of one core.

Drift: an endpoint that is one model at first and another at the end, 120 pairs of models drawn at random; and one that
samples anew, made of the same pairs by swapping answers at random. Nothing here was used to choose a level.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard import lineage
from kdguard.lineage.doubts import doubts
from kdguard.lineage.drift import permutation_p
from kdguard.lineage.overlap import ORDINARY, containments

PAIRS = 120
Texts = npt.NDArray[np.object_]


def main() -> None:
    """Print the tables."""
    place = os.environ.get("KDGUARD_DATA")
    if not place:
        sys.exit("set KDGUARD_DATA to the folder that holds lineage/responses.parquet")
    folder = Path(place) / "lineage"
    responses = lineage.read_responses(folder / "responses.parquet")
    families = lineage.place_families(lineage.read_families(folder / "families.toml"), responses)
    texts = np.array(responses.texts.to_pylist(), object).reshape(len(responses.prompts), -1)
    siblings = [
        (int(one), int(other))
        for family in range(len(families))
        for one in np.flatnonzero(families.of_model == family)
        for other in np.flatnonzero(families.of_model == family)
        if one < other
    ]
    rng = np.random.default_rng(0)
    drawn = [tuple(map(int, rng.choice(len(responses.models), 2, replace=False))) for _ in range(PAIRS)]
    for prompts in (8, 10, 20, 40, 60):
        told = {
            "asked_again": prompts,
            "change_seen": share(texts, drawn, prompts),
            "change_seen_siblings": share(texts, siblings, prompts),
            "false_alarms": share(texts, drawn, prompts, swapped=True),
        }
        print(json.dumps({"bench": "drift"} | told), flush=True)
    print(json.dumps({"bench": "overlap"} | overlap(responses, families)), flush=True)
    frame = pd.read_parquet(folder / "responses.parquet").merge(
        pd.read_parquet(folder / "prompts.parquet"), on="prompt_id"
    )
    withheld = doubts(responses, frame, responses.models)
    print(json.dumps({"bench": "withheld", "models": len(responses.models), "withheld": withheld}))


def share(texts: Texts, pairs: Sequence[tuple[int, ...]], prompts: int, *, swapped: bool = False) -> float:
    """Share of pairs of models that are told apart at .01."""
    rng = np.random.default_rng(1)
    found = []
    for one, other in pairs:
        both = [at for at in rng.permutation(len(texts)) if texts[at, one] and texts[at, other]][:prompts]
        order = [(other, one) if swapped and rng.random() < 0.5 else (one, other) for _ in both]
        first = [texts[at, left] for at, (left, _) in zip(both, order, strict=True)]
        second = [texts[at, right] for at, (_, right) in zip(both, order, strict=True)]
        found.append(permutation_p(first, second) <= 0.01)
    return float(np.mean(found))


def overlap(responses: lineage.Responses, families: lineage.Families) -> dict[str, float]:
    """Quantiles over models outside the family."""
    shares = containments(responses, families)
    known = ~np.isnan(shares)
    mean = np.where(known, shares, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    outside = mean[(families.of_model < 0)].ravel()
    levels = {f"quantile_{level:g}": float(np.quantile(outside, level)) for level in (0.5, 0.9, 0.99, 1.0)}
    return levels | {"above_ordinary": float(np.mean(outside > ORDINARY)), "pairs": len(outside)}


if __name__ == "__main__":
    main()
