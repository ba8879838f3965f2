"""Radioactivity of real students: a teacher marks its text, transformers learn from mixtures, tests look for the mark.

`python -m tests.bench.radioactivity [SCALE [usual|strong|small|small_strong]]` trains a teacher and some fifteen
students of 30,000 parameters on a corpus made here, and prints one JSON object a row: by dose and key, p of the plain
test and of the contrasts, held-out loss beside a clean twin's, what removal costs. About ten minutes of one core at
scale 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import kstest

from kdguard.detectors.watermark.detect import Detection, detect
from kdguard.detectors.watermark.keys import MarkKey, derived_key
from kdguard.detectors.watermark.processors import MarkProcessor
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.sequential import Wealth
from kdguard.detectors.watermark.radioactivity.weights import (
    Reading,
    Weighted,
    closed_contrast,
    open_contrast,
)
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.windows import Texts
from kdguard.distill.students.data import Document, TrainingData
from kdguard.distill.students.fleet import train_fleet
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Plan, Slot
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


class Bench:
    """A teacher, its clean text, three clean students of which two are the reference, and what is asked of all."""

    def __init__(self, study: Study) -> None:
        self.study = study
        rng = np.random.default_rng(7)
        self.plan = Plan(steps=study.steps, rows=32, report_every=study.steps)
        learnt = corpus(rng, 2 * study.documents)
        taught = pack(
            [Document(text.astype(np.int32), np.ones(LENGTH, np.float32), "corpus") for text in learnt],
            LENGTH,
        )
        twice = replace(self.plan, steps=2 * study.steps, report_every=2 * study.steps)
        self.teacher = train_fleet(SHAPE, [Slot(name="teacher", data=taught)], twice).model()
        self.prompts = corpus(rng, study.documents)
        self.asked = corpus(rng, study.answers)
        self.held_out = corpus(rng, study.answers)
        self.clean_text = write(self.teacher, self.prompts, seed=1)
        other = write(self.teacher, self.prompts, seed=2)
        self.clean = [
            train_fleet(
                SHAPE, [Slot(name=f"clean-{at}", data=lessons(self.prompts, text), seed=at)], self.plan
            ).model()
            for at, text in enumerate((self.clean_text, other, self.clean_text))
        ]
        self.reference = Texts.of(
            [text for at in (1, 2) for text in write(self.clean[at], self.prompts, seed=50 + at)]
        )
        self.expected = np.mean([expectations(self.clean[at], self.held_out) for at in (1, 2)], axis=0)

    def key(self, number: int) -> MarkKey:
        """One of the teacher's keys."""
        return derived_key(b"radioactive key " + bytes([number]), 2)

    def marked(self, key: MarkKey, seed: int) -> Words:
        """The teacher's text with the mark."""
        mark = MarkProcessor(self.study.scheme, key, vocab=VOCAB, delta=self.study.delta)
        return write(self.teacher, self.prompts, seed=seed, mark=mark)

    def student(self, text: Words, seed: int) -> Any:
        """A student of some text."""
        slot = Slot(name="student", data=lessons(self.prompts, text), seed=seed)
        return train_fleet(SHAPE, [slot], self.plan).model()

    def weights(self, student: Any) -> tuple[Texts, Weighted, Weighted]:
        """What a suspect wrote, and its closed and open contrast."""
        said = Texts.of(write(student, self.asked, seed=99))
        reading = Reading(Texts.of(self.held_out), expectations(student, self.held_out), self.expected)
        return (
            said,
            closed_contrast(self.study.scheme, said, self.reference),
            open_contrast(self.study.scheme, [reading], fresh=False),
        )

    def judge(self, student: Any, key: MarkKey) -> dict[str, Any]:
        """All tests of one suspect with one key."""
        said, closed, opened = self.weights(student)
        scheme = self.study.scheme
        (plain,) = detect(scheme, key, said, decoys=0)
        told = {"closed": closed, "open": opened}
        assert isinstance(plain, Detection)
        row: dict[str, Any] = {"tokens": len(said.token_ids), "plain_log10_p": plain.log10_p}
        for mode, weighted in told.items():
            found = radioactivity(scheme, key, weighted, subject="student", mode=mode, decoys=199)
            assert isinstance(found, Radioactivity)
            row |= {f"{mode}_log10_p": found.tail.log10_p, f"{mode}_bound": found.tail.log10_bound}
        row["sequential_log10_e"] = self._sequential(said, key)
        row["held_out_loss"] = loss(expectations(student, self.held_out), self.held_out)
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}

    def _sequential(self, said: Texts, key: MarkKey) -> float:
        wealth = Wealth(self.study.scheme, key)
        for begin in range(0, len(said.starts) - 1, 50):
            ends = said.starts[begin : begin + 51]
            wealth = wealth.after(Texts(said.token_ids[ends[0] : ends[-1]], ends - ends[0]))
        return wealth.log10_e


def mixed(bench: Bench, marked: Words, dose: float, seed: int) -> Words:
    """Clean and marked text of the teacher, the share `dose` of it marked."""
    count = round(dose * len(marked))
    chosen = np.random.default_rng(seed).permutation(len(marked))[:count]
    text = list(bench.clean_text)
    for at in chosen:
        text[at] = marked[at]
    return text


def reworded(text: Words, share: float, seed: int) -> Words:
    """A paraphrase that knows nothing of the mark: a share of the words becomes another of its class."""
    rng, size = np.random.default_rng(seed), VOCAB // CLASSES
    return [
        np.where(
            rng.random(len(words)) < share, words // size * size + rng.integers(0, size, len(words)), words
        )
        for words in text
    ]


def picked(bench: Bench, text: Words, share: float) -> Words:
    """Only the texts that the unmarked teacher finds likeliest, repeated until there are as many as before."""
    whole = [
        np.concatenate((prompt[:PROMPT], words)) for prompt, words in zip(bench.prompts, text, strict=True)
    ]
    expected = expectations(bench.teacher, whole)
    surprise = (
        -np.log(expected[np.arange(len(expected)), np.concatenate(whole)]).reshape(len(text), -1).mean(1)
    )
    kept = np.argsort(surprise)[: round(share * len(text))]
    return [text[at] for at in np.resize(kept, len(text))]


def scrubbed(bench: Bench, text: Words, seed: int) -> Words:
    """Targeted removal by somebody with clean text of the same teacher: words after which they are said too often."""
    size = VOCAB
    counts = [np.zeros((size, size)) + 0.5 for _ in range(2)]
    for texts, table in ((text, counts[0]), (bench.clean_text, counts[1])):
        for one in texts:
            np.add.at(table, (one[:-1], one[1:]), 1)
    shares = [table / table.sum(1, keepdims=True) for table in counts]
    keep = np.minimum(1, shares[1] / shares[0])
    spare = np.maximum(shares[1] - shares[0], 1e-9)
    spare = (spare / spare.sum(1, keepdims=True)).cumsum(1)
    rng = np.random.default_rng(seed)
    made: Words = []
    for one in text:
        words = one.copy()
        for place in range(1, len(words)):
            before = words[place - 1]
            if rng.random() > keep[before, words[place]]:
                words[place] = min(int((spare[before] < rng.random()).sum()), size - 1)
        made.append(words)
    return made


def rows(study: Study) -> Iterator[dict[str, Any]]:
    """All rows of a study."""
    bench = Bench(study)
    clean_loss = loss(expectations(bench.clean[0], bench.held_out), bench.held_out)
    keys = [bench.key(number) for number in study.keys]
    marked = [bench.marked(key, 100 + number) for number, key in zip(study.keys, keys, strict=True)]
    yield _mark_row(bench, marked[0], clean_loss)
    yield from _innocent_rows(bench)
    for number, key, text in zip(study.keys, keys, marked, strict=True):
        yield {"bench": "dose", "dose": 0.0, "key": number} | bench.judge(bench.clean[0], key)
        for dose in study.doses:
            student = bench.student(mixed(bench, text, dose, number), seed=10 + number)
            told = bench.judge(student, key)
            excess = round(told["held_out_loss"] / clean_loss - 1, 4)
            yield {"bench": "dose", "dose": dose, "key": number} | told | {"loss_excess": excess}
    removals = {
        "paraphrase 30 %": reworded(marked[0], 0.3, 5),
        "paraphrase 60 %": reworded(marked[0], 0.6, 5),
        "likeliest half": picked(bench, marked[0], 0.5),
        "targeted removal": scrubbed(bench, marked[0], 5),
        "half of it another teacher's": mixed(bench, marked[0], 0.5, 5),
    }
    for name, text in removals.items():
        told = bench.judge(bench.student(text, seed=10), keys[0])
        yield {"bench": "removal", "how": name, "dose": 1.0} | told


def small_doses(study: Study, controls: int = 3) -> Iterator[dict[str, Any]]:
    """Small doses, keys that no choice was made on: references that know nothing, and those that know what was served.

    A provider knows which answers it served to an account. `supervised` references are students that learnt these very
    answers, the marked ones as they would have been without the mark: what a student takes from the text it happened to
    see cancels. No weight looks at a key, so this costs no validity.
    """
    bench = Bench(study)
    others = [write(bench.teacher, bench.prompts, seed=200 + at) for at in range(controls)]
    kinds = {
        "unsupervised": [bench.student(text, seed=300 + at) for at, text in enumerate(others)],
        "supervised": [bench.student(bench.clean_text, seed=400 + at) for at in range(controls)],
    }
    told = {
        kind: (
            Texts.of([text for one in models for text in write(one, bench.prompts, seed=500)]),
            np.mean([expectations(one, bench.held_out) for one in models], axis=0),
        )
        for kind, models in kinds.items()
    }
    for number in study.keys:
        key = bench.key(number)
        marked = bench.marked(key, 100 + number)
        for dose in study.doses:
            student = bench.student(mixed(bench, marked, dose, number), seed=10 + number)
            row = {
                "bench": "small_dose",
                "gamma": study.gamma,
                "delta": study.delta,
                "dose": dose,
                "key": number,
            }
            for kind, (reference, expected) in told.items():
                row |= _contrasts(bench, student, key, kind, reference, expected)
            yield row


def _contrasts(
    bench: Bench, student: Any, key: MarkKey, kind: str, reference: Texts, expected: npt.NDArray[np.float32]
) -> dict[str, Any]:
    scheme = bench.study.scheme
    said = Texts.of(write(student, bench.asked, seed=99))
    reading = Reading(Texts.of(bench.held_out), expectations(student, bench.held_out), expected)
    weighted = {
        "closed": closed_contrast(scheme, said, reference),
        "open": open_contrast(scheme, [reading], fresh=False),
    }
    row: dict[str, Any] = {"tokens": len(said.token_ids)}
    for mode, one in weighted.items():
        found = radioactivity(scheme, key, one, subject="student", mode=mode, decoys=199)
        assert isinstance(found, Radioactivity)
        row[f"{kind}_{mode}_log10_p"] = round(found.tail.log10_p, 2)
    return row


def _mark_row(bench: Bench, marked: Words, clean_loss: float) -> dict[str, Any]:
    """What the mark costs the teacher: how likely its own text is to the teacher without the mark."""
    surprises = []
    for text in (bench.clean_text, marked):
        whole = [
            np.concatenate((prompt[:PROMPT], words))
            for prompt, words in zip(bench.prompts, text, strict=True)
        ]
        surprises.append(loss(expectations(bench.teacher, whole), whole))
    study = bench.study
    return {
        "bench": "mark",
        "gamma": study.gamma,
        "delta": study.delta,
        "documents": study.documents,
        "epochs": round(study.steps * bench.plan.rows / study.documents, 2),
        "teacher_nats_of_own_text": round(surprises[0], 3),
        "teacher_nats_of_marked_text": round(surprises[1], 3),
        "clean_student_held_out_loss": round(clean_loss, 3),
    }


def _innocent_rows(bench: Bench, count: int = 500) -> Iterator[dict[str, Any]]:
    """p of a student that saw no mark, over many keys."""
    _, closed, opened = bench.weights(bench.clean[0])
    for mode, weighted in {"closed": closed, "open": opened}.items():
        told = np.array([_innocent_p(bench, weighted, mode, number) for number in range(count)])
        yield {
            "bench": "innocent",
            "mode": mode,
            "keys": count,
            "ks_p": round(float(kstest(told, "uniform").pvalue), 3),
            "at_0.01": float((told <= 0.01).mean()),
            "at_0.1": float((told <= 0.1).mean()),
        }


def _innocent_p(bench: Bench, weighted: Weighted, mode: str, number: int) -> float:
    key = derived_key(number.to_bytes(16, "big"), 2)
    found = radioactivity(bench.study.scheme, key, weighted, subject="innocent", mode=mode, decoys=0)
    assert isinstance(found, Radioactivity)
    return found.p_value


STUDIES = {
    "usual": (rows, Study()),
    "strong": (rows, Study(gamma=0.1, delta=4.0, keys=(7,))),
    "small": (small_doses, Study(keys=(21, 22, 23, 24), doses=(0.01,))),
    "small_strong": (small_doses, Study(gamma=0.1, delta=4.0, keys=(25, 26, 27, 28), doses=(0.01,))),
}

if __name__ == "__main__":
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    run, full = STUDIES[sys.argv[2] if len(sys.argv) > 2 else "usual"]
    sized = replace(
        full,
        documents=max(64, int(full.documents * scale)),
        steps=max(2, int(full.steps * scale)),
        answers=max(16, int(full.answers * scale)),
        keys=full.keys if scale >= 0.5 else full.keys[:1],
    )
    for row in run(sized):
        print(json.dumps(row), flush=True)
