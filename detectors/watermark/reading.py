"""Files of texts or token ids, made into what `detect` takes; a tokenizer that does not fit is noticed and told."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from kdguard.detectors.watermark.mark import Mark, tokenizer_digest
from kdguard.detectors.watermark.windows import Ints, Texts
from kdguard.errors import WatermarkError
from kdguard.readers.handed import arrow_table

TEXT_COLUMNS: Final = ("token_ids", "response", "text")
PROMPT_COLUMNS: Final = ("prompt_ids", "prompt")
_FEWEST_ALIKE: Final = 0.5
_COMPARED: Final = 500


@dataclass(frozen=True, slots=True)
class Columns:
    """Where in a table things are; None = the first of the usual names that it has.

    Attributes:
        text: Token ids or text.
        prompt: Prompts, as token ids or text.
        by: Tells subjects apart; None = all is one subject.
    """

    text: str | None = None
    prompt: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Texts with their subjects.

    Attributes:
        texts: m texts.
        names: Subjects.
        subjects: Of each text, shape (m,).
        prompts: Their prompts, or None.
        notes: What a person should know of how they were read.
    """

    texts: Texts
    names: tuple[str, ...]
    subjects: Ints
    prompts: Texts | None
    notes: tuple[str, ...]


def read_texts(paths: Sequence[Path], columns: Columns, tokenizer: Any | None, mark: Mark) -> Read:
    """Read files: Parquet, JSON lines or CSV with a column of token ids or text, or plain text, one text a file.

    Raises:
        WatermarkError: A file cannot be read, a column is missing, text comes without a tokenizer, or the tokenizer is
            not the one the mark is written in.
    """
    notes = _check_tokenizer(tokenizer, mark)
    rows: list[Any] = []
    prompts: list[Any] = []
    owners: list[str] = []
    for path in paths:
        table = _table(path)
        texts = _column(table, columns.text, TEXT_COLUMNS, path)
        asked = _optional(table, columns.prompt, PROMPT_COLUMNS, path)
        rows += _ids(table.column(texts), tokenizer, f"{path}: column '{texts}'")
        if asked is not None:
            prompts += _ids(table.column(asked), tokenizer, f"{path}: column '{asked}'")
        if columns.by is None:
            owners += ["all"] * len(table)
        else:
            by = _column(table, columns.by, (), path)
            owners += [str(owner) for owner in table.column(by).to_pylist()]
        notes += _compare(table, tokenizer, path)
    names, subjects = np.unique(np.array(owners or ["all"]), return_inverse=True)
    return Read(
        Texts.of(rows),
        tuple(names.tolist()),
        subjects[: len(rows)].astype(np.int64),
        Texts.of(prompts) if prompts else None,
        tuple(notes),
    )


def load_tokenizer(path: Path) -> Any:
    """A tokenizer of `tokenizers` from its file or the folder it lies in; nothing is executed.

    Raises:
        WatermarkError: The extra is not installed, or the file is not a tokenizer.
    """
    if importlib.util.find_spec("tokenizers") is None:
        raise WatermarkError("reading text needs the package 'tokenizers': install kdguard[distill]")
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises bare Exception for every kind of bad file
        raise WatermarkError(f"{file}: must be a tokenizer.json: {error}") from error


def _check_tokenizer(tokenizer: Any | None, mark: Mark) -> list[str]:
    if tokenizer is None:
        return []
    digest = tokenizer_digest(tokenizer)
    if mark.tokenizer_sha256 is None:
        return [f"the mark does not tell its tokenizer; yours has the digest {digest}"]
    if digest != mark.tokenizer_sha256:
        raise WatermarkError(
            f"the mark is written in the ids of tokenizer {mark.tokenizer_sha256[:16]}…, this one is {digest[:16]}…: "
            "with another tokenizer no mark can be found; give the teacher's"
        )
    return []


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise WatermarkError(f"{path}: no such file")
    if path.suffix != ".txt":
        return arrow_table(path, WatermarkError)
    try:
        return pa.table({"text": [path.read_text(encoding="utf-8")]})
    except (OSError, UnicodeDecodeError) as error:
        raise WatermarkError(f"{path}: must be text in UTF-8: {error}") from error


def _column(table: pa.Table, given: str | None, usual: Sequence[str], path: Path) -> str:
    found = _optional(table, given, usual, path)
    if found is None:
        raise WatermarkError(
            f"{path}: must have a column of {' or '.join(usual)}; it has {', '.join(table.column_names)}. "
            "Name another with --column"
        )
    return found


def _optional(table: pa.Table, given: str | None, usual: Sequence[str], path: Path) -> str | None:
    if given is not None and given not in table.column_names:
        raise WatermarkError(f"{path}: has no column '{given}'; it has {', '.join(table.column_names)}")
    return given or next((name for name in usual if name in table.column_names), None)


def _ids(column: Any, tokenizer: Any | None, where: str) -> list[Any]:
    """Token ids of every row; a missing row is empty."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        if not pa.types.is_integer(column.type.value_type) and len(column):
            raise WatermarkError(f"{where}: token ids must be whole numbers, got {column.type.value_type}")
        return [row or [] for row in column.to_pylist()]
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise WatermarkError(f"{where}: must hold text or lists of token ids, got {column.type}")
    if tokenizer is None:
        raise WatermarkError(f"{where}: holds text; give the teacher's --tokenizer, or a column of token ids")
    texts = [text or "" for text in column.to_pylist()]
    return [encoded.ids for encoded in tokenizer.encode_batch(texts, add_special_tokens=False)]


def _compare(table: pa.Table, tokenizer: Any | None, path: Path) -> list[str]:
    """Hold the tokenizer against rows that have both text and token ids."""
    text = next((name for name in TEXT_COLUMNS[1:] if name in table.column_names), None)
    if tokenizer is None or text is None or TEXT_COLUMNS[0] not in table.column_names:
        return []
    head = table.slice(0, _COMPARED)
    told, made = (
        _ids(head.column(name), tokenizer, f"{path}: column '{name}'") for name in (TEXT_COLUMNS[0], text)
    )
    alike = (
        float(np.mean([list(one) == list(two) for one, two in zip(told, made, strict=True)])) if told else 1.0
    )
    if alike < _FEWEST_ALIKE:
        raise WatermarkError(
            f"{path}: the tokenizer turns only {alike:.0%} of the texts into their token_ids: it is not the one that "
            "made them. Leave --tokenizer out to use the ids as they are, or give the right one"
        )
    return [f"{path}: token_ids used; the tokenizer makes the same of {alike:.0%} of the texts"]
