"""Files that stand whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file to write to, which takes its place when it is complete and vanishes when it is not.

    What a killed run left of one, `.NAME.unfinished`, is written over.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):  # where nothing can be written, nothing need be cleared away
            unfinished.unlink()
        raise
