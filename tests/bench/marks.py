"""How well canaries and twins find and name: `python -m tests.bench.marks canaries|twins|coalitions`; 95 % bounds.

Students are simulated by the one number that matters here, the rate at which they give what they were taught; no
memorisation is claimed. Everything else (keys, draws, nulls, adjustment) is the shipped code.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kdguard.detectors.canary.forms import INSERTIONS
from kdguard.detectors.canary.scoring import Choices, draw, weigh
from kdguard.detectors.twins.claims import exact_p, score
from kdguard.detectors.twins.coins import bias, colluders_supported, released
from kdguard.detectors.twins.preferences import as_integers
from kdguard.stats.intervals import clopper_pearson

Ints = npt.NDArray[np.int64]
ACCOUNTS = 100_000


def key_of(number: int) -> bytes:
    """A key for each number."""
    return number.to_bytes(32, "big")


def family_detected(recall: float, trials: int, repetitions: int = 5, marked: int = 50) -> tuple[int, int]:
    """Trials in which contact with one account is shown at p <= 1e-4; one answer a cue.

    A site is recalled whole with rate `recall`; otherwise the student says another value of every field.
    """
    forms = [form for form in INSERTIONS if form.family in {"fact", "number", "behaviour"}]
    sites = [forms[place % len(forms)] for place in range(marked // repetitions)]
    sizes = [[field.size for field in form.fields] for form in sites]
    rng, hits = np.random.default_rng(round(1_000 * recall)), 0
    for trial in range(trials):
        flat = np.array([size for site in sizes for size in site], np.int64)
        drawn, other = draw(key_of(trial), flat), rng.integers(flat)
        recalled = np.repeat(rng.random(len(sites)) < recall, [len(site) for site in sizes])
        said = np.where(recalled, drawn, other)
        seen = [[choice, int(value), 1] for choice, value in enumerate(said)]
        choices = weigh(sizes, seen, 0.1)
        hits += choices.null(len(sites)).p_values([choices.score(drawn, len(sites))])[0] <= 1e-4
    return hits, trials


def named_alone(
    make: Callable[[np.random.Generator, Ints], Choices], size: int, trials: int
) -> tuple[int, int, int]:
    """Trials of 100,000 accounts in which the one leaker is named at 1e-3, and in which any innocent is."""
    sizes = np.full(128, size)
    rng = np.random.default_rng(7)
    found = false = 0
    drawn = np.asfortranarray([draw(key_of(account), sizes) for account in range(ACCOUNTS)])
    for trial in range(trials):
        choices = make(rng, drawn[trial])
        named = choices.null(128).p_values(choices.score_all(drawn, 128)) * ACCOUNTS <= 1e-3
        found += bool(named[trial])
        named[trial] = False
        false += bool(named.any())
    return found, false, trials


def student(size: int, right: float) -> Callable[[np.random.Generator, Ints], Choices]:
    """A student of one account that gives its value at a share of the sites, else any other."""

    def make(rng: np.random.Generator, own: Ints) -> Choices:
        other = (own + rng.integers(1, size, own.size)) % size
        said = np.where(rng.random(own.size) < right, own, other)
        return weigh([[size]] * own.size, [[site, int(value), 1] for site, value in enumerate(said)], 0.1)

    return make


def twins_found(effect: float, statistic: str, trials: int, prompts: int = 200) -> tuple[int, int]:
    """Trials in which p <= .01: preferences have unit noise and are moved by `effect` towards what was released."""
    rng, hits = np.random.default_rng(round(1_000 * effect)), 0
    sites = [f"{number:03d}" for number in range(prompts)]
    for trial in range(trials):
        key = key_of(trial)
        moved = {site: effect * (2 * released(key, site, 0.5) - 1) + rng.normal() for site in sites}
        rows = list(as_integers(moved, statistic).items())
        hits += exact_p(*score(rows, key, b"", 1)) <= 0.01
    return hits, trials


Strategy = Callable[[np.random.Generator, Ints], int]
"""What a coalition of which `answers` (0 or 1 a member) were released says at a site."""


def random_member(rng: np.random.Generator, answers: Ints) -> int:
    """What one of them got, drawn anew at every site."""
    return int(answers[rng.integers(len(answers))])


def majority(rng: np.random.Generator, answers: Ints) -> int:
    """What most of them got, a coin where they split evenly."""
    ones = 2 * int(answers.sum())
    return int(rng.random() < 0.5) if ones == len(answers) else int(ones > len(answers))


def minority(rng: np.random.Generator, answers: Ints) -> int:
    """What fewest of them got, where they differ."""
    return int(answers[0]) if len(set(answers.tolist())) == 1 else 1 - majority(rng, answers)


def all_ones(rng: np.random.Generator, answers: Ints) -> int:
    """Answer 1 wherever one of them has it."""
    return int(answers.any())


def coin(rng: np.random.Generator, answers: Ints) -> int:
    """Either, by a coin, where they differ."""
    return int(answers[0]) if len(set(answers.tolist())) == 1 else int(rng.random() < 0.5)


STRATEGIES: dict[str, Strategy] = {
    "a random member's": random_member,
    "the majority's": majority,
    "the minority's": minority,
    "1 wherever one has it": all_ones,
    "either, by a coin": coin,
}


def coalition_named(
    colluders: int, sites: int, trials: int, strategy: str, error: float = 0.1
) -> tuple[int, int, int]:
    """Trials in which a given member, and in which any member, is named among 100,000 at 1e-3.

    A student answers what the coalition's strategy says, and the other answer at a share `error` of the sites.
    """
    rng, given, any_member = np.random.default_rng([colluders, sites, len(strategy)]), 0, 0
    names = [f"{number:04d}" for number in range(sites)]
    biases = [bias(bytes(32), name, colluders) for name in names]
    for trial in range(trials):
        members = [key_of(trial * colluders + member) for member in range(colluders)]
        rows = []
        for name, chance in zip(names, biases, strict=True):
            answers = np.array([released(member, name, chance) for member in members], np.int64)
            answer = STRATEGIES[strategy](rng, answers) ^ int(rng.random() < error)
            rows.append((name, 2 * answer - 1))
        named = [exact_p(*score(rows, member, bytes(32), colluders)) * ACCOUNTS <= 1e-3 for member in members]
        given, any_member = given + named[0], any_member + any(named)
    return given, any_member, trials


def row(what: str, hits: int, trials: int) -> None:
    """One line of the report."""
    low, high = clopper_pearson(hits, trials)
    print(f"{what:<86} {hits / trials:6.3f}  [{low:.3f}, {high:.3f}]  n = {trials}", flush=True)


def canaries() -> None:
    """Contact with one account, and naming one of many."""
    for recall in (0.05, 0.1, 0.2, 0.3, 0.37, 0.45):
        what = f"canary: contact at p <= 1e-4, 50 marked responses, recall {recall:.2f} a site"
        row(what, *family_detected(recall, 1_000))
    row("canary: the same, recall 0 (false)", *family_detected(0.0, 10_000))
    for size, right in ((2, 0.9), (2, 0.8), (2, 0.75), (16, 0.3), (16, 0.2), (1000, 0.05)):
        found, false, trials = named_alone(student(size, right), size, 20)
        row(
            f"naming 1 of {ACCOUNTS:,} at FWER 1e-3: 128 sites of {size} values, {right:.0%} right",
            found,
            trials,
        )
        row("    an innocent named (false)", false, trials)


def twins() -> None:
    """Preference for what was released, and members of coalitions."""
    for effect in (0.2, 0.25, 0.3, 0.4):
        shift = 0.5 * (1 + math.erf(effect / math.sqrt(2)))
        for statistic in ("rank", "sign"):
            what = (
                f"twins: p <= .01, 200 prompts, effect {effect} sd ({shift:.0%} prefer released), {statistic}"
            )
            row(what, *twins_found(effect, statistic, 1_000))
    row("twins: the same, effect 0 (false), rank", *twins_found(0.0, "rank", 10_000))


def coalitions(*only: str) -> None:
    """Members of coalitions that answer by a plan of their own; `only` two numbers, of colluders and sites."""
    cells = [(int(only[0]), int(only[1]))] if only else [(2, 512), (2, 1024), (3, 1024), (3, 2048)]
    for colluders, sites in cells:
        supported = colluders_supported(sites, ACCOUNTS, fair=False)
        for strategy in STRATEGIES:
            given, any_member, trials = coalition_named(colluders, sites, 30, strategy)
            what = f"{colluders} of {ACCOUNTS:,}, {sites} sites (stated support {supported}), say {strategy}"
            row(f"twins, a given member: {what}", given, trials)
            row(f"twins, any member:     {what}", any_member, trials)


if __name__ == "__main__":
    {"canaries": canaries, "twins": twins, "coalitions": coalitions}[sys.argv[1]](*sys.argv[2:])
