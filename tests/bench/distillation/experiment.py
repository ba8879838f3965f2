"""The controlled experiment: one teacher, students by four routes, controls that never heard of it, several seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import documents_of_transcripts
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.sizes import measure
from tests.bench.distillation.judge import Nearness, mean_interval, nearness
from tests.bench.distillation.material import (
    OTHER,
    TEACHER,
    Teachers,
    answers,
    ask,
    documents_of,
    draw,
    train_teachers,
)
from tests.bench.distillation.setting import Setting
from tests.bench.distillation.students import SOFT, TEXT, Kind, train_kind

Nearnesses = Mapping[str, Sequence[Nearness]]


def experiment(setting: Setting, folder: Path) -> Iterator[dict[str, Any]]:
    """Lines on storage, on every kind of model, and on the claims.

    Args:
        setting: How large.
        folder: Keeps what is done, so that an experiment that was stopped goes on; one setting a folder.
    """
    teachers = train_teachers(setting, folder / "teachers")
    prompts = examples(world_of(TEACHER), setting.prompts, seed=2)
    told = ask(teachers, TEACHER, prompts, folder / "topk")
    entropy = draw(told, teachers, TEACHER, folder / "sampled", setting.draws)
    for part in ("topk", "sampled"):
        yield {"bench": "storage", "vocab": teachers.vocab, "entropy_nats": round(entropy, 2)} | measure(
            folder / part
        ).told()
    rival = ask(teachers, OTHER, prompts, folder / "other")
    unseen = examples(world_of(TEACHER), setting.heldout, seed=3, split="test")
    heldout = answers(ask(teachers, TEACHER, unseen, folder / "heldout"), teachers)
    sampled = documents_of_transcripts(
        read_transcripts(folder / "sampled"), teachers.tokenizer, soft="sampled"
    )
    kinds = kinds_of(
        answers(told, teachers), sampled, documents_of(prompts, teachers.tokenizer), answers(rival, teachers)
    )
    found: dict[str, list[Nearness]] = {}
    for kind in kinds:
        make = partial(judged, kind, setting, teachers, heldout)
        found[kind.name] = _kept(folder / f"{kind.name}.json", make)
        yield _row(kind, found[kind.name])
    yield from claims(kinds, found)


def kinds_of(
    exact: Sequence[Document],
    sampled: Sequence[Document],
    own: Sequence[Document],
    others: Sequence[Document],
) -> list[Kind]:
    """Students by four routes and three kinds of control.

    Args:
        exact: Answers of the teacher with top-20 soft targets.
        sampled: The same with sampled soft labels.
        own: Answers of the world itself to the same prompts.
        others: Answers of the other teacher to them.
    """
    return [
        Kind("dense", exact, SOFT, dense=True),
        Kind("top-20 and tail", exact, SOFT),
        Kind("sampled", sampled, SOFT),
        Kind("text", exact, TEXT),
        Kind("control, same prompts, answers of no teacher", own, TEXT, is_control=True),
        Kind("control, other teacher, text", others, TEXT, is_control=True),
        Kind("control, other teacher, top-20", others, SOFT, is_control=True),
    ]


def judged(kind: Kind, setting: Setting, teachers: Teachers, heldout: Sequence[Document]) -> list[Nearness]:
    """Train one kind, all seeds, and compare with the teacher."""
    shape = setting.student_shape(teachers.vocab)
    return [nearness(weights, shape, teachers, heldout) for weights in train_kind(kind, setting, teachers)]


def _kept(path: Path, make: Callable[[], list[Nearness]]) -> list[Nearness]:
    """What an earlier run found, or what `make` finds now."""
    if not path.exists():
        path.write_text(json.dumps([asdict(one) for one in make()]))
    return [Nearness(**one) for one in json.loads(path.read_text())]


def _row(kind: Kind, found: Sequence[Nearness]) -> dict[str, Any]:
    return {
        "bench": "distillation",
        "kind": kind.name,
        "control": kind.is_control,
        "agreement": _rounded(mean_interval([one.same for one in found])),
        "kl_nats": _rounded(mean_interval([one.kl for one in found])),
        "seeds": len(found),
    }


def claims(kinds: Sequence[Kind], found: Nearnesses) -> Iterator[dict[str, Any]]:
    """What is claimed, seed by seed: gaps to dense, students over controls, soft over hard."""
    dense = [one.kl for one in found["dense"]]
    for name in ("top-20 and tail", "sampled"):
        gap = [one.kl / base - 1 for one, base in zip(found[name], dense, strict=True)]
        yield {"claim": f"held-out KL of {name} over dense, minus 1", "gap": _rounded(mean_interval(gap))}
    students = [kind.name for kind in kinds if not kind.is_control]
    controls = [kind.name for kind in kinds if kind.is_control]
    for name in students:
        least = min(one.same for one in found[name])
        most = max(one.same for control in controls for one in found[control])
        yield {
            "claim": f"every student by {name} agrees more than every control",
            "holds": least > most,
            "least_student": round(least, 4),
            "most_control": round(most, 4),
        }
    for name in ("dense", "top-20 and tail", "sampled"):
        ahead = [soft.same - hard.same for soft, hard in zip(found[name], found["text"], strict=True)]
        nearer = [hard.kl - soft.kl for soft, hard in zip(found[name], found["text"], strict=True)]
        yield {
            "claim": f"{name} over text",
            "agreement_ahead": _rounded(mean_interval(ahead)),
            "kl_nats_nearer": _rounded(mean_interval(nearer)),
        }


def _rounded(interval: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in interval]
