"""Answers that must carry no claim although there are enough of them: echoes, refusals, cut ends, other languages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard.features.text import hash_words
from kdguard.lineage.endings import cut_short, shares_cut
from kdguard.lineage.responses import Responses
from kdguard.lineage.verdict import Lineage, LineageVerdict

MOST_DOUBTFUL = 0.5
"""Share of answers from which on a verdict would rest on something else than how the suspect answers."""
_COMMON_WORDS = 100
_PROMPTS_FOR_WORDS = 100
_FOREIGN = 1 / 3
_ECHO_LENGTH = 1.2
_WORD = re.compile(r"\w+")
_REFUSAL = re.compile(
    r"\b(i('m| am)? (really |very |so )?sorry\b.{0,60}\b(can(no|')t|unable|not able|won't)"
    r"|i (can(no|')t|won't|will not|am unable to|am not able to) (help|assist|do that|answer|comply|provide|discuss)"
    r"|i (must |have to |will )?(respectfully |politely )?(decline|refuse) to\b"
    r"|as an ai\b.{0,40}\b(can(no|')t|unable|not able)|(lo siento|je suis désolée?|es tut mir leid|mi dispiace)\b)",
    re.IGNORECASE | re.DOTALL,
)


def doubts(responses: Responses, frame: pd.DataFrame, suspects: Sequence[str]) -> dict[str, str]:
    """Say for each suspect why no claim may rest on its answers; a suspect that nothing speaks against is left out.

    Args:
        responses: Answers of all models.
        frame: The same as rows of `model, prompt_id, response`, and if known `prompt`, `finish_reason`, `refused`.
        suspects: Models of the table.
    """
    usual, cut = commonness(responses), shares_cut(responses)
    model = frame["model"].astype(str)
    found = {}
    for suspect in suspects:
        given = frame[model == suspect]
        given = given[given["response"].notna() & (given["response"].astype(str).str.strip() != "")]
        if given.empty:
            continue  # too few answers is said elsewhere
        checks = (
            _echoes(given),
            _refusals(given),
            _cut_off(
                given, frame.loc[model != suspect, "finish_reason"] if "finish_reason" in frame else None
            ),
            _foreign(responses.place(suspect), usual),
            _stopped(responses.place(suspect), cut),
        )
        if told := next((one for one in checks if one is not None), None):
            found[suspect] = told
    return found


def commonness(responses: Responses) -> npt.NDArray[np.float64]:
    """Share of each model's words that are among the hundred commonest of the table, shape (M,); NaN = no words.

    The first hundred prompts are enough to tell one language from another.
    """
    some = responses.first(_PROMPTS_FOR_WORDS)
    words = hash_words(some.texts)
    codes, inverse, count = np.unique(words.words, return_inverse=True, return_counts=True)
    common = np.zeros(len(codes), np.bool_)
    common[np.argsort(-count, kind="stable")[:_COMMON_WORDS]] = True
    model = np.repeat(np.arange(len(words.size_bytes)), np.diff(words.indptr)) % len(responses.models)
    total = np.bincount(model, minlength=len(responses.models))
    with np.errstate(invalid="ignore"):
        return np.bincount(model, common[inverse], len(responses.models)) / np.where(total, total, np.nan)


def withheld(verdict: LineageVerdict, reason: str) -> LineageVerdict:
    """The same verdict without its claim and its numbers, because they would rest on something else.

    A verdict that has no numbers anyway keeps its own reason.
    """
    if verdict.p_value is None:
        return verdict
    return replace(
        verdict,
        verdict=Lineage.INCONCLUSIVE,
        reason=reason,
        p_value=None,
        p_adjusted=None,
        log10_e=None,
        score=None,
    )


def _echoes(given: pd.DataFrame) -> str | None:
    if "prompt" not in given:
        return None
    pairs = zip(given["prompt"], given["response"], strict=True)
    share = sum(_repeats(str(prompt or ""), response) for prompt, response in pairs) / len(given)
    if share <= MOST_DOUBTFUL:
        return None
    return f"{share:.0%} of its answers repeat the prompt: nothing of its own can be compared"


def _repeats(prompt: str, response: str) -> bool:
    asked, said = (_WORD.findall(text.lower()) for text in (prompt, response))
    return bool(asked) and said[: len(asked)] == asked and len(said) <= _ECHO_LENGTH * len(asked)


def _refusals(given: pd.DataFrame) -> str | None:
    flagged = given["refused"].eq(True) if "refused" in given else pd.Series(False, given.index)
    worded = given["response"].map(lambda text: bool(_REFUSAL.search(text[:200])))
    share = float((flagged | worded).mean())
    if share <= MOST_DOUBTFUL:
        return None
    return f"{share:.0%} of its answers are refusals: a policy is compared, not a way of answering"


def _cut_off(given: pd.DataFrame, others: pd.Series[str] | None) -> str | None:
    if others is not None:
        share = float((given["finish_reason"] == "length").mean())
        if share > MOST_DOUBTFUL and float((others == "length").mean()) < share / 2:
            return (
                f"{share:.0%} of its answers were cut off at the limit of tokens, the others' were not as far as is "
                "told: ask all with the same limit"
            )
    lengths = Counter(len(text) for text in given["response"])
    length, same = max(lengths.items(), key=lambda one: (one[1], one[0]))
    if length > 100 and same > MOST_DOUBTFUL * len(given) and len(given) >= 10:
        return (
            f"{same / len(given):.0%} of its answers end after exactly {length} characters: they were cut off"
        )
    return None


def _stopped(model: int, cut: npt.NDArray[np.float64]) -> str | None:
    """Cut off at a limit of tokens, where no column says so."""
    if not cut_short(cut, model):
        return None
    return (
        f"{cut[model]:.0%} of its answers stop within a sentence at much the same length, most other models' do not: "
        "they look cut off; ask all with the same limit"
    )


def _foreign(model: int, usual: npt.NDArray[np.float64]) -> str | None:
    """Another language than the other models': it hardly uses the words that are common in the table."""
    own, others = float(usual[model]), usual[np.arange(len(usual)) != model]
    others = others[~np.isnan(others)]
    if np.isnan(own) or not len(others) or own >= _FOREIGN * np.median(others):
        return None
    return (
        f"its answers hardly use the words that are common in the other models' ({own:.0%} against "
        f"{np.median(others):.0%}): it answers in another language, or not in sentences"
    )
