"""Who is compared: our engine, plain loops over transformers, and TRL's trainers, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

ROOT = Path(__file__).parents[3]
FLEET = 16
Objective = Literal["offline", "online"]


@dataclass(frozen=True, slots=True)
class Contender:
    """One loop.

    Attributes:
        name: As printed.
        module: Under `tests.bench.training`.
        options: Of its command line.
        objective: `offline` = recorded top-20 soft targets and text; `online` = a teacher at hand, whole distributions.
        students: Trained at once.
        python: Interpreter that runs it.
    """

    name: str
    module: str
    options: tuple[str, ...]
    objective: Objective
    students: int = 1
    python: str = sys.executable


def contenders(size: str, device: str, trl_python: str | None) -> list[Contender]:
    """All that can run: baselines at their defaults and at their best settings, ours alone and as a fleet.

    Args:
        size: Name of a size.
        device: `cpu` or `cuda`. On a GPU everybody computes in bfloat16 and is tried compiled as well.
        trl_python: Interpreter of an environment that holds trl; None = leave it out.
    """
    found = _ours(size, device == "cuda")
    found += _transformers("plain", "plain", sys.executable, device == "cuda")
    if trl_python is not None:
        found += _transformers("TRL", "trl_loop", trl_python, device == "cuda")
    narrow = ("--narrow",) if device == "cuda" else ()
    return [
        Contender(
            each.name,
            each.module,
            (*each.options, "--device", device, *narrow),
            each.objective,
            each.students,
            each.python,
        )
        for each in found
    ]


def _ours(size: str, gpu: bool) -> list[Contender]:
    base = ("--size", size)
    fleet = ("--size", size, "--students", str(FLEET))
    found = [
        Contender("ours", "ours", base, "offline"),
        Contender(f"ours, fleet of {FLEET}", "ours", fleet, "offline", FLEET),
        Contender("ours, teacher at hand", "ours", (*base, "--online"), "online"),
    ]
    for flags in [("--compiled",), ("--graphed",), ("--compiled", "--graphed")] if gpu else []:
        how = " and ".join(flag.removeprefix("--") for flag in flags)
        found.append(Contender(f"ours, {how}", "ours", (*base, *flags), "offline"))
        found.append(Contender(f"ours, fleet of {FLEET}, {how}", "ours", (*fleet, *flags), "offline", FLEET))
    return found


def _transformers(who: str, module: str, python: str, gpu: bool) -> list[Contender]:
    """The same settings for both: as documented, and as quick as its options and our collator make it."""
    sft, gkd = ("TRL SFT", "TRL GKD") if who == "TRL" else (who, f"{who}, teacher at hand")
    best = ("--packed",)
    found = [
        Contender(f"{sft}, defaults", module, ("--all-positions",), "offline", python=python),
        Contender(f"{sft}, packed", module, (*best, "--all-positions"), "offline", python=python),
        Contender(f"{sft}, packed, taught positions", module, best, "offline", python=python),
        Contender(f"{gkd}, defaults", module, ("--online", "--all-positions"), "online", python=python),
        Contender(f"{gkd}, packed", module, ("--online", *best), "online", python=python),
    ]
    if gpu:
        compiled = (*best, "--compiled")
        found.append(Contender(f"{sft}, packed, compiled", module, compiled, "offline", python=python))
    return found


class Loop:
    """A contender at work.

    Args:
        contender: Which.
        folder: What it reads.

    Raises:
        RuntimeError: Its process ended; the last lines of its error output are in the message.
    """

    def __init__(self, contender: Contender, folder: Path) -> None:
        self.contender = contender
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by kill()
        command: Sequence[str] = (
            contender.python,
            "-m",
            f"tests.bench.training.{contender.module}",
            str(folder),
            *contender.options,
        )
        self.process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors
        )

    def hear(self) -> dict[str, Any]:
        """The next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(" | ".join(self.errors.read().strip().splitlines()[-3:]))
        told: dict[str, Any] = json.loads(line)
        return told

    def ask(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Say one line and hear the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(told) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; hearing it tells why
        return self.hear()

    def stop(self) -> int:
        """End it; gives the most memory it has held beyond what its libraries take, bytes."""
        peak = self.ask({"stop": True})["peak_bytes"]
        self.process.wait(timeout=60)
        return int(peak)

    def kill(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.communicate()  # waits, and closes its ends
        self.errors.close()
