"""Were answers cut off at a limit of tokens? Told by how they end and how long they are, where no column says so.

Such answers stop within a sentence, at much the same length. Models that lay answers out in lists stop without a full
stop as well, so that only both together, and only against what is usual in the table, say that they were.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from kdguard.lineage.responses import Responses

Floats = npt.NDArray[np.float64]

MOST_CUT: Final = 0.5
"""Share of answers from which on nothing is claimed."""
_WITHIN_SENTENCE: Final = re.compile(r"[\w,;\-\u2013\u2014(]")
"""A last character. Searching whole answers for it took four times as long as all else here."""
_NEAR_LIMIT: Final = 0.75
"""Cut answers have this share of the words of a model's longest ones, or more: words differ in tokens."""
_FEWEST_WORDS: Final = 10


def shares_cut(responses: Responses) -> Floats:
    """Share of each model's answers that stop within a sentence near its greatest length, (M,); NaN = none given."""
    return np.array(
        [
            _share(responses.texts[at :: len(responses.models)].to_pylist())
            for at in range(len(responses.models))
        ]
    )


def cut_short(shares: Floats, model: int) -> bool:
    """Whether a model's answers look cut off and most others' do not.

    Args:
        shares: As `shares_cut` gives them.
        model: Column.
    """
    others = np.delete(shares, model)
    others = others[~np.isnan(others)]
    return bool(shares[model] > MOST_CUT and len(others) and np.median(others) < shares[model] / 2)


def _share(texts: list[str | None]) -> float:
    given = [text for text in texts if text and text.strip()]
    if not given:
        return np.nan
    words = np.array([len(text.split()) for text in given])
    limit = float(np.quantile(words, 0.95))
    ends = np.array([bool(_WITHIN_SENTENCE.match(text.rstrip()[-1])) for text in given])
    return float((ends & (words >= max(_NEAR_LIMIT * limit, _FEWEST_WORDS))).mean())
