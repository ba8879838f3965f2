"""Lineage of real models from stored answers, beside published ways: one JSON line a method and kind of pair.

`python -m tests.bench lineage [--data DIR] [--alpha 0.01]`: DIR holds `responses.parquet`, `families.toml`,
`controls.csv` and `pairs.csv` (student, teacher_family, label, sibling), as in the benchmark that `KDGUARD_DATA` points
to. About three minutes of one core. Pairs marked as siblings are left out; intervals are bootstrapped by student.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard import lineage
from kdguard.detectors.fingerprint import Similarity, default_tests
from kdguard.detectors.rivals.lineage import (
    above_threshold,
    first_tokens_agree,
    nearest_on_each,
    nearest_teacher,
    two_proportions,
)
from kdguard.lineage import Families, LineageVerdict, Responses

_KINDS = ["student_pool", "teacher_of_other_vendor"]
_THRESHOLD = 0.7
"""Of knowlyr-modelaudit, the one product with a rule of its own; there on other vectors."""
_DRAWS = 2_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("KDGUARD_DATA")
    parser.add_argument("--data", type=Path, default=Path(default) / "lineage" if default else None)
    parser.add_argument("--alpha", type=float, default=0.01)
    parser.add_argument("--workers", type=int, default=2)
    told = parser.parse_args()
    if told.data is None:
        parser.error("give --data DIR, or set KDGUARD_DATA")
    for row in _rows(told.data, told.alpha, told.workers):
        print(json.dumps(row), flush=True)


def _rows(folder: Path, alpha: float, workers: int) -> Iterator[dict[str, Any]]:
    responses = lineage.read_responses(folder / "responses.parquet")
    families = lineage.place_families(lineage.read_families(folder / "families.toml"), responses)
    listed = lineage.read_controls(folder / "controls.csv")
    pairs = _pairs(folder / "pairs.csv", responses, families)
    suspects = sorted(pairs["student"].unique())
    for kinds in (_KINDS, [*_KINDS, "tainted_same_vendor"]):
        controls = lineage.listed_controls(listed, kinds, families, responses)
        claim = lineage.Claim(alpha=alpha, adjust=False)
        started = time.perf_counter()
        verdicts = lineage.test(
            responses, families, controls, suspects, default_tests(), claim, workers=workers
        )
        yield from _ours(pairs, verdicts, "tainted controls too" if len(kinds) > 2 else "kdguard", alpha)
        if len(kinds) == 2:
            yield {
                "method": "kdguard",
                "wall_s": round(time.perf_counter() - started),
                "workers": workers,
                "verdicts": len(verdicts),
            }
    for method, claims in _rivals(responses, families, suspects).items():
        told = {
            (s, f): bool(c)
            for s, row in zip(suspects, claims, strict=True)
            for f, c in zip(families.names, row, strict=True)
        }
        yield from _shares(pairs, told, method)


def _pairs(path: Path, responses: Responses, families: Families) -> pd.DataFrame:
    """Labelled pairs without sibling links; much-imitated teachers' students are a kind of their own."""
    pairs = pd.read_csv(path)
    known = pairs["student"].isin(responses.models) & pairs["teacher_family"].isin(families.names)
    pairs = pairs[known & pairs["sibling"].isna()]
    imitated = {name for name, much in zip(families.names, families.much_imitated, strict=True) if much}
    taught = pairs["label"] == "distilled_outputs"
    much = taught & pairs["teacher_family"].isin(imitated)
    return pairs.assign(
        label=np.where(
            much, "distilled, much imitated", np.where(taught, "distilled, distinctive", pairs["label"])
        )
    )


def _ours(
    pairs: pd.DataFrame, verdicts: tuple[LineageVerdict, ...], method: str, alpha: float
) -> Iterator[dict[str, Any]]:
    told = {(one.suspect, one.teacher_family): one for one in verdicts}
    supported = {pair: one.verdict is lineage.Lineage.SUPPORTED for pair, one in told.items()}
    for row in _shares(pairs, supported, f"{method}, supported at {alpha:g}"):
        mine = pairs[pairs["label"] == row["pairs"]]
        ours = [told[pair] for pair in zip(mine["student"], mine["teacher_family"], strict=True)]
        p_values = np.array([one.p_value if one.p_value is not None else 1.0 for one in ours])
        fixed = np.array([one.evidence[0].p_value or 1.0 if one.evidence else 1.0 for one in ours])
        counts = np.array([one.controls for one in ours])
        yield row | {
            "p_at_most": {
                str(level): round(float((p_values <= level).mean()), 4) for level in (0.01, 0.05, 0.1)
            },
            "p_fixed_at_most": {
                str(level): round(float((fixed <= level).mean()), 4) for level in (0.01, 0.05, 0.1)
            },
            "auc": round(float((1 - (fixed * (counts + 1) - 1) / np.maximum(counts, 1)).mean()), 4),
            "median_queries": float(np.median([one.queries for one in ours])),
            "inconclusive": sum(one.verdict is lineage.Lineage.INCONCLUSIVE for one in ours),
            "e_at_least_100": sum((one.log10_e or 0) >= 2 for one in ours),
        }


def _rivals(
    responses: Responses, families: Families, suspects: list[str]
) -> dict[str, npt.NDArray[np.bool_]]:
    columns = [responses.place(name) for name in suspects]
    own = families.of_model[columns][:, None] == np.arange(len(families))
    cosine = np.where(own[None], np.nan, Similarity().affinities(responses, families)[:, columns])
    agree = np.where(own[None], np.nan, first_tokens_agree(responses, families)[:, columns])
    return {
        "nearest teacher by TF-IDF": nearest_teacher(cosine),
        "mean cosine above .7": above_threshold(cosine, _THRESHOLD),
        "mean cosine above .25": above_threshold(cosine, 0.25),
        "two proportions, first word agrees, .05": two_proportions(agree, 0.05),
        "two proportions, nearest on a prompt, .05": two_proportions(nearest_on_each(cosine), 0.05),
        "two proportions, nearest on a prompt, .01": two_proportions(nearest_on_each(cosine), 0.01),
    }


def _shares(
    pairs: pd.DataFrame, claims: Mapping[tuple[str, str], bool], method: str
) -> Iterator[dict[str, Any]]:
    for label, mine in pairs.groupby("label", sort=True):
        claimed = np.array(
            [claims[pair] for pair in zip(mine["student"], mine["teacher_family"], strict=True)]
        )
        by_student = [claimed[mine["student"] == name] for name in sorted(mine["student"].unique())]
        low, high = _interval(by_student)
        yield {
            "method": method,
            "pairs": str(label),
            "n": len(mine),
            "students": len(by_student),
            "claimed": int(claimed.sum()),
            "students_claimed": sum(bool(each.any()) for each in by_student),
            "share": round(float(claimed.mean()), 4),
            "interval_95": [low, high],
        }


def _interval(by_student: list[npt.NDArray[np.bool_]]) -> tuple[float, float]:
    rng = np.random.default_rng(20261128)
    claimed = np.array([each.sum() for each in by_student])
    size = np.array([len(each) for each in by_student])
    drawn = rng.integers(0, len(by_student), (_DRAWS, len(by_student)))
    shares = claimed[drawn].sum(axis=1) / size[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


if __name__ == "__main__":
    main()
