"""One check: do texts, or a suspect's answers, bear a mark? By the functions behind the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.audit.case import Case
from kdguard.detectors.canary import planning as canary_planning
from kdguard.detectors.canary import suspects as canaries
from kdguard.detectors.registered import find
from kdguard.detectors.twins import planning as twins_planning
from kdguard.detectors.twins import suspects as twins
from kdguard.detectors.twins.preferences import contrast, from_likelihoods, from_texts
from kdguard.detectors.watermark.claims import text_statistics
from kdguard.detectors.watermark.committed import stored_key
from kdguard.detectors.watermark.detect import judge, what_counts
from kdguard.detectors.watermark.lines import found_in, lines_of
from kdguard.detectors.watermark.mark import Mark
from kdguard.detectors.watermark.reading import Columns, Read, load_tokenizer, read_texts
from kdguard.errors import InputError
from kdguard.evidence import Evidence
from kdguard.ledger.derivation import KeyName
from kdguard.service.marks.cases import input_of
from kdguard.service.marks.cases import lines_of as rows_as_lines
from kdguard.service.marks.registered import MarkFiles
from kdguard.service.marks.vault import Vault

Told = Mapping[str, Any]
Rows = Sequence[Told]
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a check found.

    Attributes:
        lines: As the command's `--json` prints them.
        found: Whether a mark was found, or an account named.
        alpha: Level at which.
        searched: How much was looked at, for people.
        notes: What a person should know of how the texts were read.
        case: What a bundle is made of; None where nothing was found.
    """

    lines: list[dict[str, Any]]
    found: bool
    alpha: float
    searched: str
    notes: tuple[str, ...] = ()
    case: Case | None = None


def check(asked: Told, mark: Told, files: MarkFiles, vault: Vault, progress: Progress) -> Outcome:
    """Do one check.

    Args:
        asked: As `POST /v1/marks/checks` takes it.
        mark: What is registered under its name.
        files: Where the mark's file lies.
        vault: Keys and ledger.
        progress: Told how much of the work is done.

    Raises:
        InputError: Keys, ledger, plan or texts cannot be used.
    """
    checks = {"watermark": _watermark, "canary": _canary, "twins": _twins}
    return checks[asked["kind"]](asked, mark, files, vault, progress)


def _watermark(asked: Told, mark: Told, files: MarkFiles, vault: Vault, progress: Progress) -> Outcome:
    described = Mark.of(mark["mark"])
    keys, ledger = vault.keys(files.tenant), vault.ledger(files.tenant)
    key, name, generation = stored_key(
        described, keys, ledger, epoch=mark["epoch"], account=mark.get("account", "")
    )
    read = _read(asked, mark, described, files)
    progress(0.3)
    kept = what_counts(
        described.scheme, read.texts, subjects=read.subjects, count=len(read.names), prompts=read.prompts
    )
    progress(0.5)
    verdicts = judge(described.scheme, key, kept, names=read.names, decoys=asked["decoys"], committed=True)
    subjects = found_in(verdicts, asked["alpha"])
    case = None
    if subjects:
        statistics = text_statistics(kept, read.names, subjects, asked["decoys"])
        case = _case("watermark.text", [(name, generation)], described.parameters(), statistics, asked)
    return Outcome(
        lines=lines_of(verdicts, asked["alpha"]),
        found=bool(subjects),
        alpha=asked["alpha"],
        searched=f"{len(read.names):,} subjects, {int(kept.tokens.sum()):,} tokens",
        notes=read.notes,
        case=case,
    )


def _read(asked: Told, mark: Told, described: Mark, files: MarkFiles) -> Read:
    """Texts of a check, by way of a table, as the command line reads them."""
    rows: Rows = asked["texts"]
    text = _column(rows, ("token_ids", "text"))
    prompt = next((name for name in ("prompt_ids", "prompt") if any(row.get(name) for row in rows)), None)
    columns = {name: [row.get(name) for row in rows] for name in (text, prompt) if name is not None}
    columns["subject"] = [row.get("subject", "all") for row in rows]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    with ExitStack() as open_files:
        tokenizer = None
        if mark.get("tokenizer"):
            tokenizer = load_tokenizer(open_files.enter_context(files.opened("watermark", asked["name"])))
        path = open_files.enter_context(files.written(sink.getvalue().to_pybytes(), "texts.parquet"))
        return read_texts([path], Columns(text, prompt, "subject"), tokenizer, described)


def _canary(asked: Told, mark: Told, files: MarkFiles, vault: Vault, progress: Progress) -> Outcome:
    generation = vault.keys(files.tenant).generation(mark["generation"])
    with files.opened("canary", asked["name"]) as path:
        plan = canary_planning.read_plan(path, generation)
    progress(0.2)
    rows, clean, accounts = asked["answers"], asked["clean"], asked["accounts"]
    if _column(rows, ("logprob", "response")) == "logprob":
        reading = canaries.read_likelihoods(plan, _likelihoods(rows), _likelihoods(clean))
    else:
        reading = canaries.read_suspect(plan, _answers(rows), _answers(clean))
    progress(0.4)
    if accounts:
        found = canaries.about_accounts(plan, generation, reading, accounts, alone=True)
    else:
        found = canaries.name_accounts(plan, generation, reading, asked["alpha"])
    case = None
    if found:
        subjects = [one.subject for one in found]
        names = [canary_planning.account_key(generation, subject, plan.epoch).name for subject in subjects]
        statistics = canaries.statistics_of(plan, generation, reading, subjects)
        keys = [(name, generation.number) for name in names]
        case = _case(found[0].detector, keys, plan.parameters, statistics, asked)
    searched = f"epoch {plan.epoch}, {len(plan.marked):,} accounts, {reading.answers:,} answers"
    return _named(found, searched, asked["alpha"], case)


def _twins(asked: Told, mark: Told, files: MarkFiles, vault: Vault, progress: Progress) -> Outcome:
    with files.opened("twins", asked["name"]) as path:
        plan = twins_planning.read_plan(path)
    generation = vault.keys(files.tenant).generation(plan.generation)
    progress(0.2)
    preferences = _preferences(asked["answers"], plan)
    if asked["clean"]:
        preferences = contrast(preferences, _preferences(asked["clean"], plan))
    log = [(row["account_id"], row["prompt"]) for row in asked["served"]]
    served = twins.served_sites(plan, log) if log else None
    progress(0.4)
    together = list(plan.sites) if asked["everyone"] else asked["accounts"]
    if together:
        found = twins.about_accounts(plan, generation, preferences, together, served)
    else:
        found = twins.name_leakers(plan, generation, preferences, asked["alpha"], served)
    case = None
    if found:
        subjects = together or [one.subject for one in found]
        keys = [(name, generation.number) for name in twins.key_names(plan, subjects)]
        statistics = twins.statistics_of(plan, preferences, subjects, served)
        case = _case(found[0].detector, keys, plan.parameters, statistics, asked)
    searched = f"epoch {plan.epoch}, {len(plan.sites):,} accounts, {len(preferences):,} sites"
    return _named(found, searched, asked["alpha"], case)


def _preferences(rows: Rows, plan: twins_planning.Plan) -> dict[str, float]:
    if _column(rows, ("logprob_0", "response")) == "response":
        return from_texts(_answers(rows), plan.answers)
    known = (row for row in rows if row["site_id"] in plan.answers)
    return from_likelihoods((row["site_id"], row["logprob_0"], row["logprob_1"]) for row in known)


def _named(found: Sequence[Evidence], searched: str, alpha: float, case: Case | None) -> Outcome:
    hits = any(one.p_value is not None and one.p_value <= alpha for one in found)
    lines = [asdict(one) for one in found]
    return Outcome(lines=lines, found=hits, alpha=alpha, searched=searched, case=case)


def _case(
    test: str, keys: Sequence[tuple[KeyName, int]], parameters: Told, statistics: Told, asked: Told
) -> Case:
    sent = {name: asked[name] for name in ("texts", "answers", "clean", "served") if asked.get(name)}
    inputs = tuple(input_of(f"{name}.jsonl", rows_as_lines(rows)) for name, rows in sent.items())
    return Case(
        test=test,
        version=find(test).version,
        keys=tuple(keys),
        parameters=parameters,
        statistics=statistics,
        inputs=inputs,
    )


def _column(rows: Rows, names: tuple[str, str]) -> str:
    """Which of two columns all rows have.

    Raises:
        InputError: Some have the one and some the other, or neither.
    """
    for name in names:
        if all(row.get(name) is not None for row in rows):
            return name
    raise InputError(f"every row must have {names[0]}, or every row {names[1]}")


def _answers(rows: Rows) -> list[tuple[str, str]]:
    return [(row["site_id"], row["response"]) for row in rows]


def _likelihoods(rows: Rows) -> list[tuple[str, Sequence[int], float]]:
    return [(row["site_id"], row["reply"], row["logprob"]) for row in rows]
