"""Does an attack's student agree with its teacher more than controls do that never saw it?

    python -m tests.bench.attack_agreement --seeds 6

Each seed is a whole run of `kdguard simulate attack`: a toy teacher of its own, an attack by text and one by top-20
log-probabilities. Three controls a seed have the students' shape, tokenizer, prompts, steps and rows: one learns the
corpus's true answers, one the answers of another teacher of that corpus, one those of a teacher of another world.
Everything is sampled at temperature 1, as an API does unless told otherwise; the other teachers answer alike.
Agreement is measured on prompts that nobody was asked: the likeliest token along the teacher's answer, whole greedy
answers, and the divergence from the teacher. Intervals are Student's t over seeds, differences paired.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.models import load_model, load_tokenizer
from kdguard.distill.students.documents import documents_of_pairs
from kdguard.distill.students.tokenizer import conversation_ids
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.simulate.attack.recipe import Recipe, recipe_from
from kdguard.simulate.attack.run import run_attack
from kdguard.simulate.attack.tables import ToyTeacher
from kdguard.simulate.attack.toy import pairs_of, train_toy
from kdguard.simulate.attack.training import train_student

RECIPE = """
name = "agreement-{route}"
seed = {seed}
[teacher]
{teacher}
[budget]
requests = {requests}
[ask]
max_tokens = 64
{ask}
[student]
tokenizer = "teacher"
steps = {steps}
{student}
"""
TOY_STEPS = 200
ROUTES = {
    "text": ("", ""),
    "top-20": ("top_logprobs = 20", 'objective = "topk_tail_kl"'),
}
ANSWER_TOKENS = 64
HELD_OUT = 100


@dataclass(frozen=True, slots=True)
class Agreement:
    """With the teacher, on held-out prompts.

    Attributes:
        token: Share of the teacher's greedy tokens that are the other's likeliest there.
        answer: Share of greedy answers that are the same to the letter.
        kl_nats: Mean KL(teacher || other) a token.
    """

    token: float
    answer: float
    kl_nats: float


@dataclass(frozen=True, slots=True)
class Dose:
    """How much of the teacher a student gets.

    Attributes:
        requests: To the teacher.
        steps: Of training, 8 rows of 128 tokens each.
    """

    requests: int
    steps: int


def recipe_of(route: str, seed: int, dose: Dose, teacher: Path | None = None) -> Recipe:
    """The attack of one route and seed, on a toy or on one in a folder."""
    ask, student = ROUTES[route]
    toy = f'kind = "toy"\nsteps = {TOY_STEPS}\nseed = {seed}'
    told = toy if teacher is None else f'kind = "folder"\npath = "{teacher}"'
    return recipe_from(
        RECIPE.format(route=route, seed=seed, teacher=told, ask=ask, student=student, **asdict(dose))
    )


def one_seed(seed: int, dose: Dose, folder: Path) -> dict[str, Agreement]:
    """Agreement of two students and three controls."""
    prompts = held_out(seed)
    run_attack(recipe_of("text", seed, dose), folder / "text")
    run_attack(recipe_of("top-20", seed, dose, folder / "text" / "teacher"), folder / "top-20")
    teacher, tokenizer = (load(folder / "text" / "teacher") for load in (load_model, load_tokenizer))
    found = {}
    for route in ROUTES:
        out = folder / route
        found[f"student by {route}"] = agreement(teacher, load_model(out / "student"), tokenizer, prompts)
    told = read_transcripts(folder / "text").exchanges["prompt"].to_pylist()
    for name, pairs in controls(seed, [prompt for prompt in told if prompt is not None]).items():
        table = recipe_of("text", seed, dose).student
        assert table is not None
        trained = train_student(documents_of_pairs(pairs, tokenizer), tokenizer, table, seed)
        found[name] = agreement(teacher, trained.model, tokenizer, prompts)
    return found


def controls(seed: int, prompts: Sequence[str]) -> dict[str, Any]:
    """What each control learns from, on the attack's own prompts."""
    drawn = examples(world_of("aurora"), 8_000, seed=seed + 7_919, kinds=("intents", "arithmetic"))
    truth = {one.prompt: one for one in drawn}
    asked = [truth[prompt] for prompt in prompts if prompt in truth]
    return {
        "control: true answers, no teacher": pairs_of(asked),
        "control: another teacher of the same corpus": said_by(
            ToyTeacher(kind="toy", steps=TOY_STEPS, seed=seed + 1_000), asked
        ),
        "control: a teacher of another world": said_by(
            ToyTeacher(kind="toy", steps=TOY_STEPS, seed=seed + 1_000, world="basalt"), asked
        ),
    }


def said_by(table: ToyTeacher, asked: Sequence[Example]) -> Any:
    """The answers of another toy to the same prompts."""
    model, tokenizer = train_toy(table)
    answers = said(model, tokenizer, [one.prompt for one in asked], temperature=1.0)
    return [
        type(pair)(pair.turns, answer, "other")
        for pair, answer in zip(pairs_of(list(asked)), answers, strict=True)
        if answer
    ]


def held_out(seed: int) -> list[str]:
    """Prompts of the corpus's test part, which neither teachers nor attacks see."""
    found = examples(
        world_of("aurora"), 4 * HELD_OUT, seed=seed, split="test", kinds=("intents", "arithmetic")
    )
    return list(dict.fromkeys(one.prompt for one in found))[:HELD_OUT]


def said(model: Any, tokenizer: Any, prompts: Sequence[str], temperature: float = 0.0) -> list[str]:
    """Answers, reasoning included; the likeliest ones at temperature 0."""
    asks = [
        Ask(request_id=str(i), prompt=prompt, temperature=temperature, max_tokens=ANSWER_TOKENS)
        for i, prompt in enumerate(prompts)
    ]
    told = {one.request_id: one for one in LocalTeacher(model, tokenizer, name="m").answer(asks)}
    answers = [told[ask.request_id] for ask in asks]
    return [
        f"<think>{one.reasoning}</think>{one.response}" if one.reasoning else one.response or ""
        for one in answers
    ]


def agreement(teacher: Any, other: Any, tokenizer: Any, prompts: Sequence[str]) -> Agreement:
    """Compare two models of one tokenizer."""
    theirs, mine = said(teacher, tokenizer, prompts), said(other, tokenizer, prompts)
    same, apart = [], []
    contexts = conversation_ids(tokenizer, [({"role": "user", "content": prompt},) for prompt in prompts])
    for context, answer in zip(contexts, theirs, strict=True):
        ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
        tokens = torch.tensor([[*context, *ids]])
        with torch.inference_mode():
            one, two = (
                model(input_ids=tokens).logits[0, len(context) - 1 : -1].double().log_softmax(-1)
                for model in (teacher, other)
            )
        same += (one.argmax(-1) == two.argmax(-1)).tolist()
        apart += (one.exp() * (one - two)).sum(-1).tolist()
    letters = [a == b for a, b in zip(theirs, mine, strict=True)]
    return Agreement(float(np.mean(same)), float(np.mean(letters)), float(np.mean(apart)))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval over seeds."""
    spread = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return float(np.mean(values)), float(spread)


def main() -> None:
    """Run the seeds that are not in the file of rows yet, and print a table, and differences to the best control."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--requests", type=int, default=1_000, help="to each teacher")
    parser.add_argument("--steps", type=int, default=600, help="of training each student and control")
    parser.add_argument("--rows", type=Path, help="JSON lines, one a seed: read first, then added to")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = _read(given.rows)
    for seed in range(given.first + len(runs), given.first + given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(one_seed(seed, Dose(given.requests, given.steps), Path(folder)))
        if given.rows:
            row = {name: asdict(one) for name, one in runs[-1].items()}
            with given.rows.open("a", encoding="utf-8") as rows:
                rows.write(json.dumps(row) + "\n")
    if len(runs) > 1:
        _print(runs)


def _read(path: Path | None) -> list[dict[str, Agreement]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
    return [{name: Agreement(**one) for name, one in json.loads(line).items()} for line in lines]


def _print(runs: Sequence[dict[str, Agreement]]) -> None:
    print(f"{'':46}{'tokens':>16}{'answers':>16}{'KL, nats':>16}")
    for name in runs[0]:
        columns = [[getattr(run[name], key) for run in runs] for key in ("token", "answer", "kl_nats")]
        cells = ["{:.3f} ± {:.3f}".format(*interval(column)) for column in columns]
        print(f"{name:46}" + "".join(f"{cell:>16}" for cell in cells))
    for route in ROUTES:
        gaps = [run[f"student by {route}"].token - best_control(run) for run in runs]
        told = "student by {}, tokens above its seed's best control: {:.3f} ± {:.3f}"
        print(told.format(route, *interval(gaps)))


def best_control(run: dict[str, Agreement]) -> float:
    """Share of tokens of the control that agrees most."""
    return max(one.token for name, one in run.items() if name.startswith("control"))


if __name__ == "__main__":
    main()
