"""The command line, in the process of the test."""

from __future__ import annotations

from typer.testing import CliRunner

from kdguard.cli import app


def run(*words: object, status: int = 0) -> str:
    """What a command prints.

    Raises:
        Exception: An error that the command line lets through.
    """
    done = CliRunner().invoke(app, list(map(str, words)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stdout
