"""Models trained here: strangers, who never met the teacher, and copies, in like kinds, numbers of rows and ways.

Strangers must spread as models of other people's data do, yet the owner has one sample of rows. A model of n of its N
rows, drawn at random, strays from a model of all of them about as far as a model of n N / (N - n) fresh rows strays
from the truth: variances 1/n - 1/N and 1/n'. So strangers get a quarter to a half of the rows, which stand for a third
of N to N rows of their own; with larger shares they are too much alike, and true strangers stand out. For the same
reason half of them draw on the rows that taught as well: the queries are chosen where the teacher differs from models
of the owner's other rows, and a stranger's model differs from these as well.

Half of the strangers learnt the truth. The others are copies too, of decoy teachers: whoever was taught by anybody in
the ways of a thief is no thief of this teacher. Most decoys are of the kind that is most like it, since pupils of two
teachers of one kind are alike as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.labels.queries import crossed, mixed
from kdguard.detectors.fingerprint.labels.training import KINDS, Predict, train

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_KINDS = tuple(KINDS)
WAYS = ("natural", "mixed", "natural", "crossed")
_SCOUTS = 4
"""Models of each kind that show which kind the teacher is like."""
_OFTEN = 3
"""Parts of the decoys that are of that kind, beside one part of any."""
_MADE_UP = 3
"""Made-up rows asked for each natural one."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Rows that models are trained on.

    Attributes:
        rows: Shape (n, d).
        truth: True labels, shape (n,).
        least: Smallest share of the rows that one model learns.
        most: Largest.
    """

    rows: Floats
    truth: Ints
    least: float = 0.25
    most: float = 0.5

    def some(self, rng: np.random.Generator) -> Ints:
        """Places of the rows of one model."""
        share = float(np.exp(rng.uniform(np.log(self.least), np.log(self.most))))
        return rng.permutation(len(self.rows))[: max(int(share * len(self.rows)), 2)]


def strangers(
    pools: Sequence[Pool],
    count: int,
    classes: int,
    rng: np.random.Generator,
    *,
    ways: Sequence[str] = WAYS,
    decoys: Sequence[str] = _KINDS,
) -> Iterator[Predict]:
    """Models that never met the teacher, from each pool, of each kind and in each way in turn.

    Args:
        pools: Rows.
        count: Models.
        classes: Labels there are.
        rng: Of rows, settings and training.
        ways: Names in `WAYS`: `natural` learns the truth, the others learn a decoy's labels.
        decoys: Kinds that decoys are drawn from.
    """
    for at in range(count):
        pool, kind, way = _turn(pools, at, ways)
        places = pool.some(rng)
        rows, labels = pool.rows[places], pool.truth[places]
        if way != "natural":
            others = pool.some(rng)
            decoy = train(
                pool.rows[others], pool.truth[others], classes, decoys[int(rng.integers(len(decoys)))], rng
            )
            rows, labels = _taught(rows, way, decoy, rng)
        yield train(rows, labels, classes, kind, rng)


def copies(
    pools: Sequence[Pool], teacher: Predict, count: int, classes: int, rng: np.random.Generator
) -> Iterator[Predict]:
    """Models of the teacher's labels. Those of natural rows take the first pool, where it may err, the others any."""
    for at in range(count):
        pool, kind, way = _turn(pools, at, WAYS)
        chosen = pools[0] if way == "natural" else pool
        rows, labels = _taught(chosen.rows[chosen.some(rng)], way, teacher, rng)
        yield train(rows, labels, classes, kind, rng)


def like(
    teacher: Predict, asked: Floats, pools: Sequence[Pool], classes: int, rng: np.random.Generator
) -> list[str]:
    """Kinds to draw decoys from: mostly the one whose models of the truth give most of the teacher's labels."""
    said = teacher(asked).argmax(axis=1)
    scouts = strangers(pools, _SCOUTS * len(_KINDS), classes, rng, ways=("natural",))
    agree = np.array([(model(asked).argmax(axis=1) == said).mean() for model in scouts])
    nearest = int(agree.reshape(-1, len(_KINDS)).mean(axis=0).argmax())
    return [*_KINDS, *[_KINDS[nearest]] * (_OFTEN * len(_KINDS))]


def _turn(pools: Sequence[Pool], at: int, ways: Sequence[str]) -> tuple[Pool, str, str]:
    return pools[at % len(pools)], _KINDS[at % len(_KINDS)], ways[at // len(_KINDS) % len(ways)]


def _taught(rows: Floats, way: str, teacher: Predict, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """The rows that a thief asks about in some way, and the teacher's labels."""
    if way != "natural":
        made = (mixed if way == "mixed" else crossed)(rows, _MADE_UP * len(rows), rng)
        rows = np.concatenate([rows, made])
    return rows, teacher(rows).argmax(axis=1)
