"""How an answer is built and laid out, whatever it is about: evidence beside the wording, which drives no verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import HashingVectorizer

from kdguard.detectors.fingerprint.cosines import cosines
from kdguard.detectors.fingerprint.grams import weighted
from kdguard.lineage.families import Families
from kdguard.lineage.protocol import Reading
from kdguard.lineage.responses import Responses

_READ_CHARACTERS = 400
_COMMON_WORDS = 200
_TOKEN = re.compile(r"\w+|[^\w\s]|\n")
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s*")
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|unable to|cannot|can't|won't)\b|\bas an? (?:ai|large|language)\b|\blanguage model\b",
    re.IGNORECASE,
)
_LINES = (
    ("heading", re.compile(r"#{1,6}\s|\*\*[^*]+\*\*:?$")),
    ("bullet", re.compile(r"[-*•+]\s")),
    ("number", re.compile(r"\d+[.)]\s")),
    ("fence", re.compile(r"```")),
    ("table", re.compile(r"\|.*\|")),
    ("quote", re.compile(r">\s")),
)


@dataclass(frozen=True)
class Templates:
    """Runs of one to three places of a sentence: common words and punctuation as they are, the rest by its shape.

    Which words are common is counted over all answers of the table, in any language; templates of parts of speech
    (Wadhwa et al. 2025, arXiv 2502.06659) need a tagger for each.
    """

    name: ClassVar[str] = "fingerprint.templates"
    version: ClassVar[str] = "1"
    for_much_imitated: ClassVar[bool] = False
    contrasted: ClassVar[bool] = False
    summary: ClassVar[str] = "builds sentences like the answers of"

    def readings(
        self, responses: Responses, families: Families, wanted: npt.NDArray[np.int64]
    ) -> Iterator[Reading]:
        """Cosines of templates; nothing is learnt of any model, so one reading ranks every control."""
        tokens = [_TOKEN.findall((text or "")[:_READ_CHARACTERS]) for text in responses.texts.to_pylist()]
        counted = Counter(token for each in tokens for token in set(each))
        common = {token for token, _ in counted.most_common(_COMMON_WORDS)}
        yield _reading([_template(each, common) for each in tokens], 3, responses, families, wanted)


@dataclass(frozen=True)
class Layout:
    """Runs of one to three lines by kind and length, of sentences by length, and whether it refuses or apologises."""

    name: ClassVar[str] = "fingerprint.layout"
    version: ClassVar[str] = "1"
    for_much_imitated: ClassVar[bool] = False
    contrasted: ClassVar[bool] = False
    summary: ClassVar[str] = "lays answers out, and refuses, like"

    def readings(
        self, responses: Responses, families: Families, wanted: npt.NDArray[np.int64]
    ) -> Iterator[Reading]:
        """Cosines of layouts; one reading ranks every control."""
        yield _reading(
            [_layout(text or "") for text in responses.texts.to_pylist()], 3, responses, families, wanted
        )


def _reading(
    tokens: Sequence[list[str]],
    longest: int,
    responses: Responses,
    families: Families,
    wanted: npt.NDArray[np.int64],
) -> Reading:
    reader = HashingVectorizer(
        analyzer=lambda each: _runs(each, longest), norm=None, alternate_sign=False, dtype=np.float32
    )
    ranks = np.zeros((len(responses.models), len(families)), np.bool_)
    ranks[:, wanted] = True
    return Reading(cosines(weighted(reader.transform(tokens)), responses.answered, families), ranks)


def _runs(tokens: list[str], longest: int) -> Iterator[str]:
    for length in range(1, longest + 1):
        for at in range(len(tokens) - length + 1):
            yield "\t".join(tokens[at : at + length])


def _template(tokens: list[str], common: set[str]) -> list[str]:
    return [token if token in common else _shape(token) for token in tokens]


def _shape(token: str) -> str:
    if token[0].isdigit():
        return "<number>"
    if not token[0].isalpha():
        return token
    return "<Word>" if token[0].isupper() else "<word>"


def _layout(text: str) -> list[str]:
    lines = [f"{_kind(line.strip())} {_bin(len(line.split()))}" for line in text.split("\n")]
    sentences = [f"sentence {_bin(len(each.split()))}" for each in _SENTENCE_END.split(text) if each.strip()]
    refusals = ["refuses"] * len(_REFUSAL.findall(text[:_READ_CHARACTERS]))
    return [*lines, "<end>", *sentences, "<end>", *refusals]


def _kind(line: str) -> str:
    if not line:
        return "blank"
    return next((kind for kind, pattern in _LINES if pattern.match(line)), "text")


def _bin(words: int) -> int:
    """Words on a scale on which each step is half again as much."""
    return round(np.log1p(words) / np.log(1.5))
