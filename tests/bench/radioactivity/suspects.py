"""The teacher, the students that learn from it, and what is asked of every suspect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

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
from kdguard.detectors.watermark.windows import Texts
from kdguard.distill.students.data import Document
from kdguard.distill.students.fleet import train_fleet
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Plan, Slot
from tests.bench.radioactivity.world import (
    LENGTH,
    SHAPE,
    VOCAB,
    Study,
    Words,
    corpus,
    expectations,
    lessons,
    loss,
    write,
)


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
