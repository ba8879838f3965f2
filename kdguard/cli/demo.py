"""`kdguard demo`: the whole first job on simulated traffic, in about a minute."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the log, the baseline and the report.")] = Path(
        "demo"
    ),
    owners: Annotated[int, typer.Option(min=600, help="Honest owners to learn from.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated traffic.")] = 0,
) -> None:
    """Simulate an honest month and a month with thieves, learn from the first, score the second."""
    import kdguard
    from kdguard.cli.render import write_reports
    from kdguard.cli.session import score_logs
    from kdguard.detectors import default_suite
    from kdguard.scoring.store import save_baseline
    from kdguard.simulate.traffic import simulate
    from kdguard.simulate.world import load_world
    from kdguard.simulate.write import write

    print(f"1. an honest month of {owners} simulated customers", file=sys.stderr)
    honest = simulate(replace(load_world("standard"), owners=owners), seed=seed + 1, split="calibration")
    print("2. a baseline learnt from it", file=sys.stderr)
    learnt = kdguard.learn_baseline(honest.exchanges, honest.accounts, default_suite())
    out.mkdir(parents=True, exist_ok=True)
    baseline = out / "baseline.safetensors"
    save_baseline(learnt, baseline)
    print("3. another month, with extraction campaigns among the customers", file=sys.stderr)
    tiny = load_world("tiny")
    write(simulate(tiny, seed=seed, split="test"), out, seed=seed, world_digest=tiny.digest, split="test")
    print("4. scored", file=sys.stderr)
    scored = score_logs(
        [str(out / "log.jsonl")], baseline=baseline, accounts=out / "accounts.csv", plots=True
    )
    write_reports(scored.findings, table=True, html=out / "report.html")
    print(
        f"the truth is in {out / 'labels_accounts.parquet'}; next, on your own log:\n"
        "  kdguard inspect YOUR.jsonl\n"
        "  kdguard baseline LAST_MONTH.jsonl --accounts ACCOUNTS.csv --out baseline.safetensors\n"
        "  kdguard score THIS_MONTH.jsonl --accounts ACCOUNTS.csv --baseline baseline.safetensors "
        "--report report.html",
        file=sys.stderr,
    )
