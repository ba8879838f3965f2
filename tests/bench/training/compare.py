"""Build, check parity, then let every loop take its turn, forwards and backwards, and compare."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.training.contenders import Contender, Loop, Objective
from tests.bench.training.data import Size, make, write_exchange
from tests.bench.training.intervals import median_interval
from tests.bench.training.reference import Truth, truth

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
LATER_TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}
"""Of the loss after warm-up, against the median of all loops of the objective: same order, optimiser and clipping."""


@dataclass(slots=True)
class Course:
    """What a loop has shown so far."""

    contender: Contender
    loop: Loop
    loss: float
    norm: float
    build_s: float
    steps: int = 0
    later: float = 0.0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def compare(
    size: Size, chosen: Sequence[Contender], device: str, *, turns: int, turn_s: float
) -> Iterator[dict[str, Any]]:
    """One line a loop, then one a ratio of ours to each baseline of the same objective.

    Args:
        size: Which size.
        chosen: Who takes part.
        device: `cpu` or `cuda`.
        turns: Turns a loop.
        turn_s: Seconds a turn, about.
    """
    arithmetic = "bfloat16" if device == "cuda" else "float32"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_exchange(size, folder)
        truths: dict[Objective, Truth] = {
            "offline": truth(folder, online=False),
            "online": truth(folder, online=True),
        }
        courses: list[Course] = []
        for contender in chosen:
            found = _begin(contender, folder, size, turn_s)
            if isinstance(found, Course):
                courses.append(found)
            else:
                yield {"size": size.name, "loop": contender.name, "void": found}
        try:
            for turn in range(turns):
                for course in courses[:: -1 if turn % 2 else 1]:
                    _turn(course)
            peaks = [course.loop.stop() for course in courses]
        finally:
            for course in courses:
                course.loop.kill()
    how = {"size": size.name, "device": device, "arithmetic": arithmetic}
    sound = {}
    for course, peak in zip(courses, peaks, strict=True):
        wrong = _void(course, courses, truths[course.contender.objective], arithmetic)
        if wrong is None:
            sound[course.contender.name] = course
        yield how | _line(course, size, device, peak) | ({"void": wrong} if wrong else {})
    for line in _ratios(list(sound.values()), device):
        yield how | line


def _begin(contender: Contender, folder: Path, size: Size, turn_s: float) -> Course | str:
    """Start a loop and warm it up; a loop that cannot run gives its reason instead."""
    loop = Loop(contender, folder)
    try:
        told = loop.hear()
        course = Course(contender, loop, told["loss"], told["norm"], told["build_s"])
        loop.ask({"steps": size.warm})
        course.later = loop.ask({"loss": True})["loss"]
        each = loop.ask({"steps": 2})["wall_s"] / 2
    except RuntimeError as error:
        loop.kill()
        return str(error)
    course.steps = max(2, round(turn_s / each))
    return course


def _turn(course: Course) -> None:
    told = course.loop.ask({"steps": course.steps})
    course.wall.append(told["wall_s"] / course.steps)
    course.cpu.append(told["cpu_s"] / course.steps)


def _void(course: Course, all_courses: Sequence[Course], known: Truth, arithmetic: str) -> str | None:
    """Why a row does not count; None = it does."""
    if abs(course.loss / known.loss - 1) > TOLERANCE[arithmetic]:
        return f"first loss {course.loss:.6f}, reference {known.loss:.6f}"
    if abs(course.norm / known.norm - 1) > TOLERANCE[arithmetic]:
        return f"first gradient norm {course.norm:.6f}, reference {known.norm:.6f}"
    objective = course.contender.objective
    typical = statistics.median(each.later for each in all_courses if each.contender.objective == objective)
    if abs(course.later / typical - 1) > LATER_TOLERANCE[arithmetic]:
        return f"loss after warm-up {course.later:.6f}, of the others {typical:.6f}"
    return None


def _seconds(course: Course, device: str) -> list[float]:
    """Seconds a step and turn: of the wall on a GPU, of the process on a CPU, whose cores others use as well."""
    return course.wall if device == "cuda" else course.cpu


def _line(course: Course, size: Size, device: str, peak: int) -> dict[str, Any]:
    data = make(size, 0)
    supervised = data.supervised / data.rows * size.rows * course.contender.students
    step_s = median_interval(_seconds(course, device))
    return {
        "loop": course.contender.name,
        "objective": course.contender.objective,
        "supervised_tokens_per_s": [
            round(supervised / value) for value in (step_s.median, step_s.high, step_s.low)
        ],
        "all_tokens_per_s": round(
            size.rows * size.length * data.density * course.contender.students / step_s.median
        ),
        "step_ms": round(1e3 * step_s.median, 2),
        "step_wall_ms": round(1e3 * statistics.median(course.wall), 2),
        "build_s": round(course.build_s, 1),
        "peak_mib": round(peak / 2**20),
    }


def _ratios(courses: Sequence[Course], device: str) -> Iterator[dict[str, Any]]:
    """Speed of each of our loops over each baseline, turn by turn; above 1 = ours is faster."""
    for mine in courses:
        for other in courses:
            both = mine.contender, other.contender
            if both[0].module != "ours" or both[1].module == "ours" or both[0].objective != both[1].objective:
                continue
            values = {
                name: median_interval([both[0].students * b / a for a, b in zip(*pair, strict=True)]).told(2)
                for name, pair in (
                    ("ratio", (_seconds(mine, device), _seconds(other, device))),
                    ("ratio_of_wall", (mine.wall, other.wall)),
                )
            }
            yield {"faster": both[0].name, "than": both[1].name, **values}
