"""Files that hold prompts or hashes of keys: readable by their owner only, and whole after a crash."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from kdguard.errors import TeacherError


def append_private(path: Path) -> BinaryIO:
    """Open a file of lines to append to, unbuffered; made with mode 0600 if absent.

    A last line without an end, as a killed process leaves it, is ended, so that the next one stands alone.

    Raises:
        TeacherError: It cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        file = os.fdopen(handle, "ab", buffering=0)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            file.write(b"\n")
    except OSError as error:
        raise TeacherError(f"{path}: cannot be written: {error.strerror}") from error
    return file


def append_lines(file: BinaryIO, lines: bytes, path: Path) -> None:
    """Append whole lines, all or none of them.

    Raises:
        TeacherError: The disk is full; the file then ends as it did before.
    """
    before = os.fstat(file.fileno()).st_size
    rest = memoryview(lines)
    try:
        while rest:
            rest = rest[file.write(rest) or 0 :]
    except OSError as error:
        os.ftruncate(file.fileno(), before)
        raise TeacherError(f"{path}: cannot be written: {error.strerror}; make room") from error


def replace_private(path: Path, text: str) -> None:
    """Write a whole file with mode 0600; whoever reads it sees the old or the new one.

    Raises:
        TeacherError: It cannot be written; the old one stays.
    """
    unfinished: str | None = None
    try:
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError as error:
        if unfinished is not None:
            Path(unfinished).unlink(missing_ok=True)
        raise TeacherError(f"{path}: cannot be written: {error.strerror}") from error
