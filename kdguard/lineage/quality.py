"""Answers that cannot carry style: too few, too short, or the same whatever is asked."""

from __future__ import annotations

import numpy as np

from kdguard.lineage.contrast import FIRST_LOOK
from kdguard.lineage.responses import Responses

_FEWEST_WORDS = 5
_FEWEST_DISTINCT = 0.2


def unusable(responses: Responses, model: int) -> str | None:
    """Say why a suspect's answers cannot be tested; None = they can.

    Args:
        responses: The table.
        model: Column of the suspect.
    """
    texts = responses.texts.take(np.arange(model, len(responses.texts), len(responses.models))).to_pylist()
    given = [text.strip() for text in texts if text and text.strip()]
    if len(given) < FIRST_LOOK:
        return f"{len(given)} answers that are not empty; a test needs {FIRST_LOOK}"
    words = float(np.median([len(text.split()) for text in texts if text is not None]))
    if words < _FEWEST_WORDS:
        return f"answers of {words:g} words in the median carry no style; ask for {_FEWEST_WORDS} or more"
    distinct = len(set(given)) / len(given)
    if distinct < _FEWEST_DISTINCT:
        return f"only {distinct:.0%} of its answers differ from each other: refusals or a fixed reply, not answers"
    return None
