"""The controlled experiment: one teacher, students by four routes, controls that never heard of it, several seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.students.documents import documents_of_transcripts
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.sizes import Sizes, measure
from tests.bench.distillation.judge import Nearness, mean_interval, nearness
from tests.bench.distillation.material import OTHER, TEACHER, answers, ask, documents_of, draw, train_teachers
from tests.bench.distillation.setting import Setting
from tests.bench.distillation.students import SOFT, TEXT, Kind, train_kinds

Nearnesses = Mapping[str, Sequence[Nearness]]


def experiment(setting: Setting) -> Iterator[dict[str, Any]]:
    """Lines on storage, on every kind of model, and on the claims."""
    teachers = train_teachers(setting)
    prompts = examples(world_of(TEACHER), setting.prompts, seed=2)
    unseen = examples(world_of(TEACHER), setting.heldout, seed=3, split="test")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = ask(teachers, TEACHER, prompts, folder / "topk")
        entropy = draw(told, teachers, TEACHER, folder / "sampled", setting.draws)
        drawn = read_transcripts(folder / "sampled")
        rival = ask(teachers, OTHER, prompts, folder / "other")
        heldout = answers(ask(teachers, TEACHER, unseen, folder / "heldout"), teachers)
        for part in ("topk", "sampled"):
            yield _storage(measure(folder / part), teachers.vocab, entropy)
    exact = answers(told, teachers)
    others = answers(rival, teachers)
    sampled = documents_of_transcripts(drawn, teachers.tokenizer, soft="sampled")
    own = documents_of(prompts, teachers.tokenizer)
    kinds = [
        Kind("dense", exact, SOFT, dense=True),
        Kind("top-20 and tail", exact, SOFT),
        Kind("sampled", sampled, SOFT),
        Kind("text", exact, TEXT),
        Kind("control: same prompts, answers of no teacher", own, TEXT, is_control=True),
        Kind("control: other teacher, text", others, TEXT, is_control=True),
        Kind("control: other teacher, top-20", others, SOFT, is_control=True),
    ]
    shape = setting.student_shape(teachers.vocab)
    trained = train_kinds(kinds, setting, teachers)
    found = {
        name: [nearness(weights, shape, teachers, heldout) for weights in seeds]
        for name, seeds in trained.items()
    }
    for kind in kinds:
        yield _row(kind, found[kind.name])
    yield from claims(kinds, found)


def _storage(sizes: Sizes, vocab: int, entropy: float) -> dict[str, Any]:
    return {"bench": "storage", "vocab": vocab, "entropy_nats": round(entropy, 2)} | sizes.told()


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
