"""Small doses, against references that know nothing and references that know what was served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.weights import Reading, closed_contrast, open_contrast
from kdguard.detectors.watermark.windows import Texts
from tests.bench.radioactivity.suspects import Bench
from tests.bench.radioactivity.thieves import mixed
from tests.bench.radioactivity.world import Study, expectations, loss, write


@dataclass(frozen=True, slots=True)
class Reference:
    """What clean models say.

    Attributes:
        text: Their answers to the prompts that the teacher was asked.
        expected: Mean probabilities of the next word in held-out texts, (t, vocab).
    """

    text: Texts
    expected: npt.NDArray[np.float32]

    @classmethod
    def of(cls, bench: Bench, models: Sequence[Any]) -> Self:
        """Ask clean models, each with draws of its own."""
        told = [text for at, one in enumerate(models) for text in write(one, bench.prompts, seed=500 + at)]
        return cls(Texts.of(told), np.mean([expectations(one, bench.held_out) for one in models], axis=0))


def small_doses(study: Study, controls: int = 3) -> Iterator[dict[str, Any]]:
    """Small doses, keys that no choice was made on: references that know nothing, and those that know what was served.

    A provider knows which answers it served to an account. `supervised` references are students that learnt these very
    answers, the marked ones as they would have been without the mark: what a student takes from the text it happened to
    see cancels. No weight looks at a key, so this costs no validity.
    """
    bench = Bench(study)
    others = [write(bench.teacher, bench.prompts, seed=200 + at) for at in range(controls)]
    references = {
        "unsupervised": Reference.of(
            bench, [bench.student(text, seed=300 + at) for at, text in enumerate(others)]
        ),
        "supervised": Reference.of(
            bench, [bench.student(bench.clean_text, seed=400 + at) for at in range(controls)]
        ),
    }
    clean_loss = loss(expectations(bench.clean[0], bench.held_out), bench.held_out)
    for number in study.keys:
        key = bench.key(number)
        marked = bench.marked(key, 100 + number)
        for dose in (0.0, *study.doses):
            learnt = mixed(bench, marked, dose, number)
            student = bench.student(learnt, seed=10 + number) if dose else bench.clean[0]
            yield {
                "bench": "small_dose",
                "gamma": study.gamma,
                "delta": study.delta,
                "dose": dose,
                "key": number,
                **_judge(bench, student, key, references),
                "loss_excess": round(
                    loss(expectations(student, bench.held_out), bench.held_out) / clean_loss - 1, 4
                ),
            }


def _judge(bench: Bench, student: Any, key: MarkKey, references: dict[str, Reference]) -> dict[str, Any]:
    """p of both contrasts against each kind of reference."""
    scheme = bench.study.scheme
    said = Texts.of(write(student, bench.asked, seed=99))
    likely = expectations(student, bench.held_out)
    row: dict[str, Any] = {"tokens": len(said.token_ids)}
    for kind, reference in references.items():
        reading = Reading(Texts.of(bench.held_out), likely, reference.expected)
        for mode, weighted in {
            "closed": closed_contrast(scheme, said, reference.text),
            "open": open_contrast(scheme, [reading], fresh=False),
        }.items():
            found = radioactivity(scheme, key, weighted, subject="student", mode=mode, decoys=199)
            assert isinstance(found, Radioactivity)
            row[f"{kind}_{mode}_log10_p"] = round(found.tail.log10_p, 2)
    return row
