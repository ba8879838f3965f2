"""`kdguard distill evaluate`: how good a student is, and how like its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

Folder = Annotated[
    Path | None, typer.Option(help="Model folder to compare with.", exists=True, file_okay=False)
]


def evaluate(
    student: Annotated[
        Path, typer.Argument(help="Model folder, or what `train` wrote.", exists=True, file_okay=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for report.json and report.html.", file_okay=False)
    ],
    teacher: Folder = None,
    control: Folder = None,
    world: Annotated[str, typer.Option(help="World of the prompts and of the truth about them.")] = "aurora",
    task: Annotated[list[str] | None, typer.Option(help="Task to judge by; repeatable.")] = None,
    outside: Annotated[
        list[str] | None,
        typer.Option(help="Task out of distribution, or words; repeatable. By default all others and words."),
    ] = None,
    examples: Annotated[int, typer.Option(help="Prompts of each kind.", min=1)] = 60,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", min=1)] = 64,
    texts: Annotated[
        list[Path] | None,
        typer.Option(help="Text file whose perplexity is told.", exists=True, dir_okay=False),
    ] = None,
    price_per_hour: Annotated[float | None, typer.Option(help="Of this machine.", min=0)] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of prompts and intervals.", min=0)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object on stdout.")] = False,
) -> None:
    """Judge a student: likeness to its teacher, ability, calibration, refusals, speed and cost.

    Needs the extra `distill`. Exit status: 0 done, 2 bad usage or an unusable model.
    """
    from kdguard.cli.distill.page import write_page
    from kdguard.cli.progress import StageBars, one_thread
    from kdguard.distill.corpora.corpus import TASKS
    from kdguard.distill.evaluate.evaluate import Setting
    from kdguard.distill.evaluate.evaluate import evaluate as judge
    from kdguard.distill.evaluate.inputs import load_judged, origin_of, read_texts
    from kdguard.distill.recipes.run import write_json

    one_thread()
    origin = origin_of(student)
    named = {"student": origin.folder, "teacher": teacher, "control": control}
    models = [load_judged(role, path, device) for role, path in named.items() if path is not None]
    setting = Setting(
        world=world,
        tasks=tuple(task or TASKS),
        outside=tuple(outside) if outside else None,
        examples=examples,
        max_tokens=max_tokens,
        texts=read_texts(texts or ()),
        price_per_hour=price_per_hour,
        seed=seed,
    )
    with StageBars() as bars:
        report = judge(models, setting, dose=origin.dose, say=bars.stage)
    out.mkdir(parents=True, exist_ok=True)
    write_json(report | {"history": list(origin.history)}, out / "report.json")
    write_page(out / "report.json", out / "report.html")
    if as_json:
        typer.echo(orjson.dumps(orjson.loads((out / "report.json").read_bytes())).decode())
