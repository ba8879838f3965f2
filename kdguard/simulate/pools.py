"""Pools of texts by kind and language, split by hash of the text so that no split sees another's prompts.

Without a data folder the project's own grammars write the texts. With one, real prompts replace them where
the folder has the kind, and documents are cut from its corpora.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kdguard.errors import WorldError
from kdguard.simulate import corpus
from kdguard.simulate.grammar import Half, grammar, grammars
from kdguard.simulate.seeds import stream

Split = Literal["fit", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("fit", "calibration", "test")
KINDS = (
    "chat",
    "question",
    "document",
    "review",
    "email",
    "utterance",
    "code",
    "math",
    "instruct",
    "tool_use",
    "translation",
    "roleplay",
    "safety",
    "answer",
    "wordsalad",
)
TOPICS = 40
"""Topics a pool is ordered by; an owner spreads its requests over few of them."""
POOL_SIZE = 9_000
_SHARED_KINDS = frozenset(
    {"code", "math", "tool_use", "safety", "roleplay", "instruct", "translation", "wordsalad"}
)


def split_of(text: str) -> Split:
    """The split a text belongs to: fit 40 %, calibration 30 %, test 30 %, by CRC-32 of its bytes."""
    place = zlib.crc32(text.encode("utf-8", "surrogatepass")) % 10
    return "fit" if place < 4 else "calibration" if place < 7 else "test"


def wording(split: Split) -> Half:
    """The half of honest template wordings a split may use: all of them, in every split.

    Honest owners of the teaching, calibration and test worlds are draws from one population, and "think step
    by step" is said in all of them; what must be new to a test are the texts and the extraction wordings.
    """
    del split
    return "both"


@dataclass(frozen=True)
class Pool:
    """Distinct texts of one kind and language, ordered by topic.

    Attributes:
        texts: The texts.
        bounds: Topic `i` holds `texts[bounds[i]:bounds[i + 1]]`.
    """

    texts: Sequence[str]
    bounds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def draw(self, rng: np.random.Generator, n: int, topics: Sequence[int] | None = None) -> list[str]:
        """`n` texts with replacement, from all topics or evenly from those named (taken modulo)."""
        if topics is None:
            places = rng.integers(len(self.texts), size=n)
        else:
            chosen = np.asarray(topics)[rng.integers(len(topics), size=n)] % (len(self.bounds) - 1)
            edges = np.asarray(self.bounds)
            low, high = edges[chosen], edges[chosen + 1]
            places = low + (rng.random(n) * (high - low)).astype(np.int64)
        texts = self.texts
        return [texts[place] for place in places.tolist()]


@dataclass(frozen=True)
class Pools:
    """All pools of one split; built on first use and shared.

    Attributes:
        split: Which texts may be seen.
        data: Data folder with `prompts/` and `corpora/`, or None for the project's own texts.
        size: Texts a generated pool holds.
    """

    split: Split = "test"
    data: Path | None = None
    size: int = POOL_SIZE

    def pool(self, kind: str, language: str = "en") -> Pool:
        """The pool of a kind; falls back to English where a language does not have the kind."""
        return _pool(kind, language, self.split, self.data, self.size)

    def draw(
        self,
        kind: str,
        n: int,
        rng: np.random.Generator,
        language: str = "en",
        topics: Sequence[int] | None = None,
    ) -> list[str]:
        """`n` texts of a kind, see `Pool.draw`."""
        return self.pool(kind, language).draw(rng, n, topics)


@functools.cache
def _pool(kind: str, language: str, split: Split, data: Path | None, size: int) -> Pool:
    if kind not in KINDS:
        raise WorldError(f"no pool of kind '{kind}'; kinds are: {', '.join(KINDS)}")
    if data is not None:
        real = [text for text in corpus.texts(data, kind, language) if split_of(text) == split]
        if len(real) >= size // 4:
            return Pool(tuple(real), _even_bounds(len(real)))
        if len(real) >= TOPICS * 3:
            own = _pool(kind, language, split, None, size).texts
            return Pool(mixed := (*real, *own), _even_bounds(len(mixed)))
    if language != "en" and (language not in grammars("languages") or kind in _SHARED_KINDS):
        return _pool(kind, "en", split, data, size)
    return _generated(kind, language, split, size)


def _even_bounds(n: int) -> tuple[int, ...]:
    return tuple(np.linspace(0, n, TOPICS + 1).astype(int).tolist())


def _generated(kind: str, language: str, split: Split, size: int) -> Pool:
    rules = grammar("english") if language == "en" else grammar("languages", language)
    symbol = kind if kind in rules.rules else "chat"
    texts: dict[str, None] = {}
    bounds = [0]
    for topic in range(TOPICS):
        rng = stream(topic, "pool", kind, language)
        # One narrowed vocabulary a topic, the same for all splits: only the texts are disjoint.
        flavour = rules.narrowed(rng, 0.45)
        written = flavour.expand(symbol, size * 4 // TOPICS, rng)
        for text in written:
            if len(texts) - bounds[-1] >= size // TOPICS:
                break
            if split_of(text) == split:
                texts.setdefault(text)
        bounds.append(max(len(texts), bounds[-1] + 1))
    return Pool(tuple(texts), _clipped(bounds, len(texts)))


def _clipped(bounds: Sequence[int], n: int) -> tuple[int, ...]:
    """Bounds with every topic non-empty, even where a narrowed grammar wrote nothing new."""
    if any(bounds[i + 1] > n for i in range(len(bounds) - 1)):
        return _even_bounds(n)
    return tuple(bounds)
