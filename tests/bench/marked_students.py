"""Three marks at once on real students, and what a thief can do against them: `python -m tests.bench.marked_students`.

A teacher (a transformer of 60,000 parameters) answers 10,000 questions. All its answers bear a watermark; four
accounts get 50 canaries each (0.5 % of the set an account, 10 sites written 5 times) and 200 twins each. Students of
the same size learn from all of it, 4 epochs, after the thief's treatment. One JSON object a row.
`[SCALE [TRIALS [TREATMENT...]]]`, by default 1, 6 and all. About a quarter of an hour of one core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdguard.detectors.canary.asking import candidates, reply_likelihoods
from kdguard.detectors.canary.gateway import account_filter
from kdguard.detectors.canary.planning import Budget, Plan, account_key, plan_epoch
from kdguard.detectors.canary.suspects import (
    about_accounts,
    account_p_values,
    read_likelihoods,
    read_suspect,
)
from kdguard.detectors.interview import Continuation, answers, log_likelihoods
from kdguard.detectors.twins.claims import exact_p, score
from kdguard.detectors.twins.coins import released
from kdguard.detectors.twins.preferences import as_integers
from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.processors import MarkProcessor
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.weights import closed_contrast
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.windows import Texts
from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.students.documents import Pair, ask, documents_of_pairs
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Plan as Schedule
from kdguard.distill.students.plan import Slot
from kdguard.distill.students.shapes import named_shape
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids, train_tokenizer
from kdguard.distill.students.training import train
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.ledger.keys import Generation
from kdguard.ledger.secret import Secret
from kdguard.simulate.attack.tactics.cleaning import clean_answer
from kdguard.stats.intervals import clopper_pearson

Lesson = tuple[str, str]
"""A question, and what a student learns to say."""

KINDS = ("facts", "intents")
CONTEXT, LENGTH, ROWS, EPOCHS = 256, 128, 16, 4
ACCOUNTS, SITES, REPETITIONS, TWINS = 4, 10, 5, 200
CONTROLS = 3
SCHEME = GreenSiphash(1, 0.25)
DELTA = 3.0


@dataclass(frozen=True)
class Model:
    """A model with its tokenizer."""

    model: Any
    tokenizer: Any

    def asked(
        self, prompts: list[str], *, mark: MarkProcessor | None = None, times: int = 1, seed: int = 0
    ) -> Any:
        """What it says to prompts, in their order."""
        teacher = LocalTeacher(self.model, self.tokenizer, name="asked", rows=256, seed=seed, mark=mark)
        told = answers(
            teacher, [(f"{at}", text) for at, text in enumerate(prompts)], times=times, max_tokens=40
        )
        return sorted(told, key=lambda said: int(said.name))


def learn(lessons: list[Lesson], tokenizer: Any, seed: int, epochs: float = EPOCHS) -> Model:
    """A model of 60,000 parameters that learnt from some lessons."""
    pairs = [Pair(ask(prompt), text, "teacher") for prompt, text in lessons]
    shape = named_shape("micro", vocab=fitted_vocab(tokenizer), context=CONTEXT)
    data = pack(documents_of_pairs(pairs, tokenizer), LENGTH)
    steps = max(2, int(epochs * len(data.tokens) / ROWS))
    slot = Slot(name="student", data=data, seed=seed, learning_rate=1e-2)
    fleet = train(shape, slot, Schedule(steps=steps, rows=ROWS, report_every=steps))
    return Model(fleet.model(0, **special_ids(tokenizer)).train(False), tokenizer)


class World:
    """A teacher, its marked answers, and the questions that suspects are asked."""

    def __init__(self, scale: float) -> None:
        self.count = int(10_000 * scale)
        known = examples(world_of("aurora"), self.count, seed=3, kinds=KINDS)
        self.tokenizer = train_tokenizer(
            [text for one in known for text in (one.prompt, one.response)], 1_000
        )
        self.teacher = learn([(one.prompt, one.response) for one in known], self.tokenizer, seed=1, epochs=6)
        self.prompts = [one.prompt for one in examples(world_of("aurora"), self.count, seed=4, kinds=KINDS)]
        self.key = derived_key(b"key of the marked students' bench", SCHEME.key_words)
        vocab = int(self.teacher.model.config.vocab_size)
        self.mark = MarkProcessor(SCHEME, self.key, vocab=vocab, delta=DELTA)
        self.marked = [one.response for one in self.teacher.asked(self.prompts, mark=self.mark)]
        twice = self.prompts[: ACCOUNTS * TWINS]
        self.second = [one.response for one in self.teacher.asked(twice, mark=self.mark, seed=9)]
        self.other = examples(world_of("basalt"), self.count, seed=5, kinds=KINDS)
        self.asked = [one.prompt for one in examples(world_of("aurora"), 1_500, seed=6, kinds=KINDS)]
        clean = self.teacher.asked(self.asked, times=4, seed=7)
        self.clean = self.ids([one.response for one in clean])
        # students of the provider's own, which learnt the same answers but for other coins and other canaries
        self.controls = [
            learn(Trial(self, 999 - at).lessons, self.tokenizer, seed=99 - at) for at in range(CONTROLS)
        ]

    def ids(self, texts: list[str]) -> Texts:
        """Texts as the teacher's tokens."""
        return Texts.of([self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts])


class Trial:
    """What four accounts were served, and the tests of a student that learnt it."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.keys = Generation(1, Secret(number.to_bytes(32, "big")), Secret(bytes(32)))
        budget = Budget(share=0.05, most=SITES * REPETITIONS, repetitions=REPETITIONS)
        self.plans: list[Plan] = [
            plan_epoch(self.keys, f"epoch-{at}", {"account": 10_000}, budget, ("fact", "number"))
            for at in range(ACCOUNTS)
        ]
        self.lessons = self._served()

    def _served(self) -> list[Lesson]:
        """Answers with twins released by coin, and 50 canaries an account in places drawn at random."""
        world, texts = self.world, list(self.world.marked)
        for at in range(min(len(world.second), len(texts))):
            pair = sorted((texts[at], world.second[at]))
            texts[at] = pair[released(self._twin_key(at), f"{at}", 0.5)]
        rng = np.random.default_rng([11, self.number])
        places = iter(rng.permutation(np.arange(len(world.second), len(texts))).tolist())
        for plan in self.plans:
            marker = account_filter(plan, self.keys, "account")
            for site, reply in zip(marker.sites, marker.replies, strict=True):
                for _ in range(REPETITIONS):
                    place = next(places)
                    marked = site.mark(world.prompts[place], texts[place], reply)
                    while marked is None:
                        place = next(places)
                        marked = site.mark(world.prompts[place], texts[place], reply)
                    texts[place] = marked
        return list(zip(world.prompts, texts, strict=True))

    def _twin_key(self, at: int) -> bytes:
        return account_key(self.keys, f"twins-{at // TWINS}", "epoch").key.reveal()

    def judge(self, student: Model) -> dict[str, Any]:
        """p-values of all marks."""
        world = self.world
        twins = {
            "twins": self._twins(student, [world.teacher]),
            "twins_control": self._twins(student, world.controls[:1]),
            "twins_controls": self._twins(student, world.controls),
        }
        return self._canaries(student) | twins | self._watermark(student)

    def _canaries(self, student: Model) -> dict[str, Any]:
        by_likelihood, by_text = [], []
        for plan in self.plans:
            asked = candidates(plan, self.keys, ["account"])
            told = reply_likelihoods(asked, student.model, student.tokenizer)
            reading = read_likelihoods(plan, told)
            by_likelihood.append(float(account_p_values(plan, self.keys, reading)[0]))
            said = student.asked([site.cue for site in plan.sites], times=3)
            cued = [(plan.sites[int(one.name)].site_id, one.response) for one in said]
            found = about_accounts(plan, self.keys, read_suspect(plan, cued), ["account"], alone=True)
            by_text.append(found[0].p_value)
        return {"canary": by_likelihood, "canary_text": by_text}

    def _twins(self, student: Model, references: Sequence[Model]) -> list[float]:
        world = self.world
        places = [
            at for at, pair in enumerate(zip(world.marked, world.second, strict=False)) if _differ(*pair)
        ]
        rows = [
            Continuation(world.prompts[at], "", text)
            for at in places
            for text in sorted((world.marked[at], world.second[at]))
        ]
        told, *others = (
            log_likelihoods(one.model, one.tokenizer, rows).reshape(-1, 2) for one in (student, *references)
        )
        usual = np.mean(others, axis=0)
        prefers = (told[:, 1] - told[:, 0]) - (usual[:, 1] - usual[:, 0])
        found = []
        for account in range(ACCOUNTS):
            own = {
                f"{at}": float(value)
                for at, value in zip(places, prefers, strict=True)
                if at // TWINS == account
            }
            rows_of = list(as_integers(own, "rank").items())
            found.append(exact_p(*score(rows_of, self._twin_key(account * TWINS), b"", 1)))
        return found

    def _watermark(self, student: Model) -> dict[str, Any]:
        world = self.world
        said = world.ids([one.response for one in student.asked(world.asked, times=2, seed=8)])
        weighted = closed_contrast(SCHEME, said, world.clean)
        told = radioactivity(SCHEME, world.key, weighted, subject="student", mode="closed", decoys=199)
        log10_p = told.tail.log10_p if isinstance(told, Radioactivity) else 0.0
        return {"watermark_log10_p": round(log10_p, 2), "watermark_tokens": len(said.token_ids)}


def _differ(one: str, two: str) -> bool:
    return one != two and bool(one.strip()) and bool(two.strip())


Treatment = Callable[[World, list[Lesson], np.random.Generator], list[Lesson]]


def nothing(world: World, lessons: list[Lesson], rng: np.random.Generator) -> list[Lesson]:
    """The thief takes all as it is."""
    return lessons


def by_rule(world: World, lessons: list[Lesson], rng: np.random.Generator) -> list[Lesson]:
    """The simulator's own washing: plain spaces, no invisible characters, some words replaced."""
    return [(prompt, clean_answer(text, rng)) for prompt, text in lessons]


def reworded(world: World, lessons: list[Lesson], rng: np.random.Generator) -> list[Lesson]:
    """A paraphrase that knows nothing: every fifth word becomes another word of the set."""
    pool = " ".join(text for _, text in lessons[:2_000]).split()

    def again(text: str) -> str:
        words = [word if rng.random() > 0.2 else pool[rng.integers(len(pool))] for word in text.split(" ")]
        return " ".join(words)

    return [(prompt, again(text)) for prompt, text in lessons]


def likeliest(world: World, lessons: list[Lesson], rng: np.random.Generator) -> list[Lesson]:
    """Keeps the half whose answers a clean model finds likeliest a token."""
    rows = [Continuation(prompt, "", text or " ") for prompt, text in lessons]
    told = log_likelihoods(world.teacher.model, world.tokenizer, rows)
    sizes = [len(world.tokenizer(row.text, add_special_tokens=False)["input_ids"]) for row in rows]
    order = np.argsort(-told / np.array(sizes), kind="stable")
    return [lessons[at] for at in np.sort(order[: len(lessons) // 2]).tolist()]


def mixed(world: World, lessons: list[Lesson], rng: np.random.Generator) -> list[Lesson]:
    """As many answers again from a teacher of another world."""
    return lessons + [(one.prompt, one.response) for one in world.other]


def first_paragraph(world: World, lessons: list[Lesson], rng: np.random.Generator) -> list[Lesson]:
    """Removal by somebody who knows the forms: what stands behind the first paragraph is cut off."""
    return [(prompt, text.split("\n\n")[0]) for prompt, text in lessons]


TREATMENTS: dict[str, Treatment] = {
    "nothing": nothing,
    "washed by rule": by_rule,
    "every fifth word another": reworded,
    "likeliest half": likeliest,
    "mixed with another teacher": mixed,
    "first paragraphs only": first_paragraph,
}


def rows(scale: float, trials: int, treatments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row a student, then one a treatment."""
    world = World(scale)
    for name, treat in ((name, TREATMENTS[name]) for name in treatments or TREATMENTS):
        told = []
        for number in range(trials if name == "nothing" else max(1, trials // 3)):
            trial = Trial(world, 1_000 + number)
            lessons = treat(world, trial.lessons, np.random.default_rng([13, number]))
            told.append(
                trial.judge(learn([one for one in lessons if one[1]], world.tokenizer, seed=100 + number))
            )
            yield {"bench": "student", "treatment": name, "number": number} | told[-1]
        yield {"bench": "treatment", "treatment": name, "students": len(told)} | _summary(told)


def _summary(told: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    twins = [(name, 0.01) for name in ("twins", "twins_control", "twins_controls")]
    for name, level in (("canary", 1e-4), ("canary_text", 1e-3), *twins):
        p_values = [p for row in told for p in row[name]]
        hits = sum(p <= level for p in p_values)
        low, high = clopper_pearson(hits, len(p_values))
        found[name] = {
            "at": level,
            "found": f"{hits} of {len(p_values)}",
            "bounds": [round(low, 3), round(high, 3)],
            "median_log10_p": round(float(np.median(np.log10(p_values))), 2),
        }
    found["named of 100,000 at 1e-3"] = sum(p * 1e5 <= 1e-3 for row in told for p in row["canary"])
    found["watermark_log10_p"] = [row["watermark_log10_p"] for row in told]
    return found


if __name__ == "__main__":
    scale_, trials_, *named_ = [*sys.argv[1:], *["1", "6"][len(sys.argv) - 1 :]]
    for row_ in rows(float(scale_), int(trials_), named_):
        print(json.dumps(row_), flush=True)
