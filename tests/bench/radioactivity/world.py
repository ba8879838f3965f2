"""A made-up language, what is written and learnt in it, and the sizes of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from kdguard.detectors.watermark.processors import MarkProcessor
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.distill.students.data import Document, TrainingData
from kdguard.distill.students.packing import pack
from kdguard.distill.students.shapes import Shape
from kdguard.distill.teachers.generation import Engine, Request

Ints = npt.NDArray[np.int64]
Words = list[Ints]

VOCAB: Final = 64
CLASSES: Final = 8
LENGTH: Final = 128
PROMPT: Final = 4
SHAPE: Final = Shape(hidden=32, layers=2, heads=2, vocab=VOCAB, context=LENGTH)


@dataclass(frozen=True, slots=True)
class Study:
    """Sizes of a study.

    Attributes:
        documents: Texts that a student learns from, 124 tokens each.
        steps: Optimiser steps of a student; 32 rows of 128 tokens each.
        answers: Texts that a suspect writes for the closed test.
        keys: Numbers of keys, each with its own marked teacher text.
        doses: Shares of marked texts.
        delta: What green tokens' log-odds gain.
        gamma: Share of green tokens.
    """

    documents: int = 2_000
    steps: int = 150
    answers: int = 400
    keys: tuple[int, ...] = (0, 1)
    doses: tuple[float, ...] = (0.01, 0.05, 0.1, 1.0)
    delta: float = 3.0
    gamma: float = 0.25

    @property
    def scheme(self) -> GreenSiphash:
        """The mark."""
        return GreenSiphash(1, self.gamma)


def corpus(rng: np.random.Generator, count: int) -> Words:
    """Texts of a made-up language: word classes follow one another, each topic has its own favourite words."""
    grammar = np.random.default_rng(1)
    follows = grammar.dirichlet(np.full(CLASSES, 0.25), CLASSES).cumsum(1)
    size = VOCAB // CLASSES
    favourite = grammar.dirichlet(np.full(size, 0.7), (8, CLASSES)).cumsum(2)
    topic, kind = rng.integers(0, 8, count), rng.integers(0, CLASSES, count)
    texts = np.zeros((count, LENGTH), np.int64)
    for place in range(LENGTH):
        kind = (follows[kind] < rng.random((count, 1))).sum(1).clip(max=CLASSES - 1)
        word = (favourite[topic, kind] < rng.random((count, 1))).sum(1).clip(max=size - 1)
        texts[:, place] = kind * size + word
    return list(texts)


def write(model: Any, prompts: Words, *, seed: int, mark: MarkProcessor | None = None) -> Words:
    """Answers to the first words of texts, at temperature 1."""
    engine = Engine(
        model, token_bytes=(b"w",) * VOCAB, ends=(), rows=256, context=LENGTH, steps=16, mark=mark
    )
    asked = [
        Request(
            key=at, prompt_ids=tuple(text[:PROMPT].tolist()), max_tokens=LENGTH - PROMPT, seed=seed, stream=at
        )
        for at, text in enumerate(prompts)
    ]
    told = {done.key: done.token_ids.astype(np.int64) for done in engine.run(asked)}
    return [told[at] for at in range(len(prompts))]


def lessons(prompts: Words, answers: Words) -> TrainingData:
    """Prompts with answers to learn."""
    return pack(
        [
            Document(
                np.concatenate((prompt[:PROMPT], answer)).astype(np.int32),
                np.concatenate((np.zeros(PROMPT), np.ones(len(answer)))).astype(np.float32),
                "teacher",
            )
            for prompt, answer in zip(prompts, answers, strict=True)
        ],
        LENGTH,
    )


@torch.inference_mode()
def expectations(model: Any, texts: Words) -> npt.NDArray[np.float32]:
    """Probability of every next word of texts, (t, vocab); the first word of a text is expected from nothing."""
    rows = []
    for begin in range(0, len(texts), 64):
        ids = torch.from_numpy(np.stack(texts[begin : begin + 64]))
        likely = model(input_ids=ids).logits.softmax(-1)
        first = torch.full_like(likely[:, :1], 1 / VOCAB)
        rows.append(torch.cat((first, likely[:, :-1]), 1).flatten(0, 1))
    return torch.cat(rows).numpy()


def loss(expected: npt.NDArray[np.float32], texts: Words) -> float:
    """Mean cross-entropy in nats, prompts apart."""
    told = expected[np.arange(len(expected)), np.concatenate(texts)].reshape(len(texts), -1)
    return float(-np.log(told[:, PROMPT:]).mean())
