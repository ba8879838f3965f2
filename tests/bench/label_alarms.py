"""False alarms of the label test over teachers: how wide they are, and whether dependence alone explains them.

Suspects of one teacher share its controls, its queries and its owner's one sample of rows, so alarms come in lumps.
Two questions, with two answers beside the count:

- how often does the test alarm with a teacher nobody met? An interval by drawing teachers again, with all their
  suspects (bootstrap; few teachers make it narrow);
- could suspects and controls be exchangeable? Then the share of a teacher's suspects at alpha, given its m controls,
  is Beta(k, m + 1 - k) with k = floor(alpha (m + 1)), independent from teacher to teacher, and the count follows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ALPHAS: Final = (0.01, 0.05, 0.1)
MET_NOBODY: Final = ("other rows", "the owner's rows", "another teacher's labels")
"""Kinds of independent that a claim with private rows is false for."""
_DRAWS: Final = 20_000


def table(lines: Sequence[dict[str, Any]], controls: int, queries: int = 100) -> Iterator[str]:
    """Markdown: alarms with private rows declared and without, by what independents are."""
    yield "| independents | n | p <= | alarms | share [by teachers] | were they exchangeable | chance of as many |"
    yield "|---" * 7 + "|"
    for declared in (True, False):
        for whats in (MET_NOBODY, *((what,) for what in MET_NOBODY)):
            teachers = list(_by_teacher(lines, whats, queries, declared).values())
            title = ("private rows: " if declared else "not declared: ") + (
                "all three" if len(whats) > 1 else whats[0]
            )
            for alpha in ALPHAS if teachers else ():
                yield _row(title, [np.array(one) for one in teachers], alpha, controls)


def _by_teacher(
    lines: Sequence[dict[str, Any]], whats: Sequence[str], queries: int, declared: bool
) -> dict[tuple[str, int, float], list[float]]:
    """p of every independent, with the rank among models of the teacher's rows where these are not private."""
    found: dict[tuple[str, int, float], list[float]] = defaultdict(list)
    for line in lines:
        if line["role"] == "independent" and line["what"] in whats:
            ranks = line["p"][str(queries)]
            found[line["data"], line["seed"], line["share"]] += [
                one[0] if declared else max(one[:2]) for one in ranks
            ]
    return found


def _row(title: str, teachers: Sequence[Floats], alpha: float, controls: int) -> str:
    hits = np.array([int((one <= alpha).sum()) for one in teachers])
    sizes = np.array([len(one) for one in teachers])
    low, high = again(hits, sizes)
    usual = exchangeable(sizes, alpha, controls)
    least, most = np.quantile(usual, [0.025, 0.975])
    return (
        f"| {title} | {sizes.sum()} | {alpha} | {hits.sum()} | {hits.sum() / sizes.sum():.3f} [{low:.3f}, {high:.3f}] "
        f"| {least:.0f} to {most:.0f} | {(1 + (usual >= hits.sum()).sum()) / (1 + len(usual)):.4f} |"
    )


def again(hits: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of the share of alarms, teachers drawn again with all their suspects."""
    drawn = np.random.default_rng(1).integers(len(hits), size=(_DRAWS, len(hits)))
    low, high = np.quantile(hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def exchangeable(sizes: npt.NDArray[np.int64], alpha: float, controls: int) -> npt.NDArray[np.int64]:
    """Alarms in all, drawn anew, were every teacher's suspects exchangeable with its controls."""
    rng, top = np.random.default_rng(2), int(np.floor(alpha * (controls + 1) + 1e-9))
    if not top:
        return np.zeros(_DRAWS, np.int64)
    shares = rng.beta(top, controls + 1 - top, (_DRAWS, len(sizes)))
    return np.asarray(rng.binomial(sizes, shares).sum(axis=1), np.int64)
