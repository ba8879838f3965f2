"""p against dose, the cost of the mark, innocent students, and what removal costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import kstest

from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.weights import Weighted
from tests.bench.radioactivity.suspects import Bench
from tests.bench.radioactivity.thieves import mixed, picked, reworded, scrubbed
from tests.bench.radioactivity.world import PROMPT, Study, Words, expectations, loss


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
