"""Run the worlds of a plan, and go on where a study was cut short."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from threadpoolctl import threadpool_limits

from kdguard.errors import InputError
from kdguard.scoring.suite import Suite
from kdguard.simulate.evaluation.one_world import Contestants, run_world
from kdguard.simulate.evaluation.outcomes import is_done, load_worlds, save_world
from kdguard.simulate.evaluation.plan import Plan
from kdguard.simulate.evaluation.report import Report, make_report


class StudyError(InputError):
    """A folder holds another study."""


def run_study(
    plan: Plan,
    contestants: Contestants,
    folder: Path,
    *,
    workers: int = 2,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Evaluate every world that the folder does not hold yet, then report on all of them.

    Args:
        plan: What to do.
        contestants: What is evaluated; picklable when `workers` > 1.
        folder: Where results are kept: per world a Parquet of account rows, one of rivals' rows, and facts.
        workers: Processes; the results do not depend on them.
        tell: Called with a line a finished world.

    Raises:
        StudyError: The folder holds results of another plan or of other detectors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    suite = suite_name(contestants.make_suite((), ()))
    _claim(folder, plan.digest(f"{suite} on {contestants.source.name}"))
    todo = [world for world in range(plan.worlds) if not is_done(folder, world)]
    if len(todo) < plan.worlds:
        tell(f"{plan.worlds - len(todo)} of {plan.worlds} worlds are in {folder} already")
    if workers <= 1 or len(todo) <= 1:
        for world in todo:
            tell(_run_and_save(plan, world, contestants, folder))
    else:
        with ProcessPoolExecutor(min(workers, len(todo)), multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(_run_and_save, plan, world, contestants, folder) for world in todo]
            for done in as_completed(waiting):
                tell(done.result())
    rows, rivals, facts = load_worlds(folder, plan.worlds)
    sources = {rival.name: rival.source for rival in contestants.rivals}
    return make_report(plan, suite, contestants.source.name, rows, rivals, facts, sources)


def suite_name(suite: Suite) -> str:
    """Name the detectors with everything that was not learnt from the log: versions, outputs and weights."""
    versions = {detector.name: detector.version for detector in suite.detectors}
    return json.dumps({"detectors": versions, "weights": dict(suite.weights)}, sort_keys=True)


def _claim(folder: Path, digest: str) -> None:
    """Mark the folder as this study's."""
    mark = folder / "study.json"
    if mark.exists():
        held = json.loads(mark.read_text()).get("digest")
        if held != digest:
            raise StudyError(
                f"{folder}: must be empty or hold this study ({digest[:12]}), got study {str(held)[:12]}; "
                "give another --out, or remove the folder"
            )
        return
    mark.write_text(json.dumps({"digest": digest}))


def _run_and_save(plan: Plan, world: int, contestants: Contestants, folder: Path) -> str:
    # One thread a process: linear algebra that spawns its own threads only fights over the cores.
    with threadpool_limits(1):
        result = run_world(plan, world, contestants)
    save_world(folder, world, result.rows, result.rivals, result.facts)
    return f"world {world}: {len(result.rows):,} outcomes, {result.facts['seconds']} s"
