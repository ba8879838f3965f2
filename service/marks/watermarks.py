"""Checks of watermarks: are texts marked, and did whoever wrote them learn from marked text?"""

from __future__ import annotations

from contextlib import ExitStack

import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.detectors.watermark.claims import text_statistics
from kdguard.detectors.watermark.committed import StoredKey, stored_key
from kdguard.detectors.watermark.detect import judge, what_counts
from kdguard.detectors.watermark.lines import Found, found_in, lines_of
from kdguard.detectors.watermark.mark import Mark
from kdguard.detectors.watermark.radioactivity import suspects
from kdguard.detectors.watermark.radioactivity.weights import Gate
from kdguard.detectors.watermark.reading import Columns, Read, load_tokenizer, read_texts
from kdguard.service.marks.outcome import Outcome, Progress, Rows, Told, case_of, column_of
from kdguard.service.marks.registered import MarkFiles
from kdguard.service.marks.vault import Vault


def written(asked: Told, mark: Told, files: MarkFiles, vault: Vault, progress: Progress) -> Outcome:
    """Do texts bear the mark? Arguments as for `check`."""
    described, stored = _opened(mark, files, vault)
    read = _read(asked["texts"], asked["name"], mark, described, files)
    progress(0.3)
    kept = what_counts(
        described.scheme, read.texts, subjects=read.subjects, count=len(read.names), prompts=read.prompts
    )
    progress(0.5)
    found = judge(
        described.scheme, stored.key, kept, names=read.names, decoys=asked["decoys"], committed=True
    )
    subjects = found_in(found, asked["alpha"])
    statistics = text_statistics(kept, read.names, subjects, asked["decoys"])
    told = (described, stored, statistics) if subjects else None
    return _outcome("watermark.text", asked, found, told, read, int(kept.tokens.sum()))


def learnt(asked: Told, mark: Told, files: MarkFiles, vault: Vault, progress: Progress) -> Outcome:
    """Do suspects lean to the mark's tokens more than clean models do? Arguments as for `check`."""
    described, stored = _opened(mark, files, vault)
    read, clean, *known = (
        _read(asked[name], asked["name"], mark, described, files)
        for name in ("texts", "clean", "known")
        if asked[name]
    )
    progress(0.3)
    served, gate = (known[0].texts if known else None), Gate(bits=asked["gate_bits"])
    contrasts = suspects.closed_contrasts(described.scheme, read, clean.texts, gate, known=served)
    progress(0.6)
    found = suspects.judge(described.scheme, stored.key, contrasts, asked["decoys"], committed=True)
    subjects = found_in(found, asked["alpha"])
    statistics = suspects.contrast_statistics(contrasts, subjects, asked["decoys"])
    told = (described, stored, statistics) if subjects else None
    tokens = sum(one.weighted.tokens for one in contrasts.values())
    return _outcome("watermark.radioactivity", asked, found, told, read, tokens)


def _opened(mark: Told, files: MarkFiles, vault: Vault) -> tuple[Mark, StoredKey]:
    described = Mark.of(mark["mark"])
    keys, ledger = vault.keys(files.tenant), vault.ledger(files.tenant)
    return described, stored_key(
        described, keys, ledger, epoch=mark["epoch"], account=mark.get("account", "")
    )


def _outcome(
    test: str, asked: Told, found: Found, told: tuple[Mark, StoredKey, Told] | None, read: Read, tokens: int
) -> Outcome:
    case = None
    if told is not None:
        mark, stored, statistics = told
        keys = [(stored.name, stored.generation)]
        case = case_of(test, keys, mark.parameters(), statistics, asked)
    return Outcome(
        lines=lines_of(found, asked["alpha"]),
        found=told is not None,
        alpha=asked["alpha"],
        searched=f"{len(read.names):,} subjects, {tokens:,} tokens",
        notes=read.notes,
        case=case,
    )


def _read(rows: Rows, name: str, mark: Told, described: Mark, files: MarkFiles) -> Read:
    """Texts of a check, by way of a table, as the command line reads them."""
    text = column_of(rows, ("token_ids", "text"))
    prompt = next((one for one in ("prompt_ids", "prompt") if any(row.get(one) for row in rows)), None)
    columns = {one: [row.get(one) for row in rows] for one in (text, prompt) if one is not None}
    columns["subject"] = [row.get("subject", "all") for row in rows]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    with ExitStack() as open_files:
        tokenizer = None
        if mark.get("tokenizer"):
            tokenizer = load_tokenizer(open_files.enter_context(files.opened("watermark", name)))
        path = open_files.enter_context(files.written(sink.getvalue().to_pybytes(), "texts.parquet"))
        return read_texts([path], Columns(text, prompt, "subject"), tokenizer, described)
