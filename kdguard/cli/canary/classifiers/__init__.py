"""`kdguard canary triggers` and `kdguard canary sinusoid`: marks for classifiers. Each plans, marks and verifies."""

from __future__ import annotations

import typer

from kdguard.cli.canary.classifiers import sinusoid, triggers

triggers_app = typer.Typer(help="Keyed wrong labels on at most 0.5 % of queries.", no_args_is_help=True)
sinusoid_app = typer.Typer(help="A keyed wave on one label's probability.", no_args_is_help=True)
for app, module in ((triggers_app, triggers), (sinusoid_app, sinusoid)):
    for command in (module.plan, module.mark, module.verify):
        app.command(command.__name__)(command)
