"""The command line. One file a command; data on stdout, talk on stderr.

Exit status: 0 ran and found nothing, 1 found something, 2 bad usage or input, 3 internal error, 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from kdguard.cli.audit import app as audit_app
from kdguard.cli.baseline import baseline
from kdguard.cli.canary import app as canary_app
from kdguard.cli.convert import convert
from kdguard.cli.demo import demo
from kdguard.cli.distill import app as distill_app
from kdguard.cli.evaluate import evaluate
from kdguard.cli.inspect import inspect
from kdguard.cli.keys import app as keys_app
from kdguard.cli.lineage import app as lineage_app
from kdguard.cli.score import score
from kdguard.cli.serve import serve, worker
from kdguard.cli.simulate import app as simulate_app
from kdguard.cli.teacher import app as teacher_app
from kdguard.cli.twins import app as twins_app
from kdguard.cli.watermark import app as watermark_app
from kdguard.errors import InputError

EXTRAS = {
    "distill": ("httpx2", "openai", "tokenizers", "torch", "transformers"),
    "service": (
        "alembic",
        "fastapi",
        "jwt",
        "opentelemetry",
        "prometheus_client",
        "pydantic_settings",
        "sqlalchemy",
        "uvicorn",
    ),
    "kafka": ("confluent_kafka",),
}
"""Packages that an extra brings, by import name."""

app = typer.Typer(
    name="kdguard",
    help="Find who is extracting your model, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    pretty_exceptions_enable=False,
)
for command in (demo, inspect, baseline, score, convert, evaluate, serve, worker):
    app.command(command.__name__)(command)
app.add_typer(simulate_app, name="simulate")
app.add_typer(distill_app, name="distill")
app.add_typer(audit_app, name="audit")
app.add_typer(canary_app, name="canary")
app.add_typer(twins_app, name="twins")
app.add_typer(lineage_app, name="lineage")
app.add_typer(teacher_app, name="teacher")
app.add_typer(watermark_app, name="watermark")
app.add_typer(keys_app, name="keys")


def main() -> None:
    """Run the command line and turn errors into messages and exit statuses."""
    try:
        app()
    except InputError as error:
        print(f"kdguard: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if told := _extra_missing(error):
            print(f"kdguard: {told}", file=sys.stderr)
            sys.exit(2)
        # Only the kind and the place: a message or a local variable could hold a prompt.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = (
            f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown place"
        )
        print(
            f"kdguard: internal error: {type(error).__name__} at {place}; please report it", file=sys.stderr
        )
        sys.exit(3)


def _extra_missing(error: Exception) -> str | None:
    """What to install, where a package of an extra is not there."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    package = (error.name or "").partition(".")[0]
    extra = next((name for name, packages in EXTRAS.items() if package in packages), None)
    return extra and f"this needs the package '{package}': pip install 'kdguard[{extra}]'"
