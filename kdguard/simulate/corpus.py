"""Real prompts and documents from a data folder, by kind and language, ordered by source and label."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

LONGEST = 4_000
"""Characters a prompt is cut to."""
_KIND_OF = {
    "classification": "utterance",
    "qa": "question",
    "summarization": "instruct",
    "instruction": "instruct",
}
_CORPORA = {
    "document": ("books", "owasp_aisvs", "powershell_docs", "tinyshakespeare_wikitext2"),
    "review": ("nltk_movie_reviews",),
}
_PARAGRAPHS = re.compile(r"\n\s*\n")


def texts(data: Path, kind: str, language: str) -> Sequence[str]:
    """Distinct texts of a kind; empty where the folder has none.

    Args:
        data: Folder with `prompts/prompts.parquet` and `corpora/*.parquet` (columns `text`, `source`, ...).
        kind: One of `kdguard.simulate.pools.KINDS`.
        language: ISO 639-1 code. Corpora count as English.
    """
    found = list(_prompts(data).get((kind, language), ()))
    if language == "en" and kind in _CORPORA:
        found += [piece for name in _CORPORA[kind] for piece in _pieces(data / "corpora" / f"{name}.parquet")]
    if language == "en" and kind == "wordsalad":
        found += _salad(data)
    return tuple(dict.fromkeys(found))


@functools.cache
def _prompts(data: Path) -> dict[tuple[str, str], list[str]]:
    path = data / "prompts" / "prompts.parquet"
    if not path.exists():
        return {}
    columns = ["text", "reference", "label", "source", "kind", "lang"]
    table = pq.read_table(path, columns=columns).sort_by([("source", "ascending"), ("label", "ascending")])
    found: dict[tuple[str, str], list[str]] = {}
    rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
    for text, reference, _, _, kind, language in rows:
        found.setdefault((_KIND_OF.get(kind, kind), language), []).append(text[:LONGEST])
        if reference and len(reference) > 20:
            found.setdefault(("answer", language), []).append(reference[:800])
    return found


@functools.cache
def _pieces(path: Path) -> tuple[str, ...]:
    """Runs of whole paragraphs of 300 to 1,500 characters."""
    if not path.exists():
        return ()
    pieces: list[str] = []
    for text in pq.read_table(path, columns=["text"]).column("text").to_pylist():
        run = ""
        for paragraph in _PARAGRAPHS.split(str(text)[:200_000]):
            run = f"{run}\n\n{paragraph.strip()}" if run else paragraph.strip()
            if len(run) >= 300:
                pieces.append(run[:1_500])
                run = ""
    return tuple(pieces[:30_000])


@functools.cache
def _salad(data: Path) -> list[str]:
    """Words of the corpora in random-looking order: every 17th word, twelve at a time."""
    words = " ".join(_pieces(data / "corpora" / "books.parquet")[:2_000]).split()
    shuffled = [words[(i * 7919) % len(words)] for i in range(min(len(words), 240_000))] if words else []
    return [" ".join(shuffled[i : i + 12]) for i in range(0, len(shuffled), 12)]
