"""One check: do texts, or a suspect's answers, bear a mark? By the functions behind the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from kdguard.audit.case import Case
from kdguard.detectors.canary import planning as canary_planning
from kdguard.detectors.canary import suspects as canaries
from kdguard.detectors.twins import planning as twins_planning
from kdguard.detectors.twins import suspects as twins
from kdguard.detectors.twins.preferences import contrast, from_likelihoods, from_texts
from kdguard.evidence import Evidence
from kdguard.service.marks import watermarks
from kdguard.service.marks.outcome import Outcome, Progress, Rows, Told, case_of, column_of
from kdguard.service.marks.registered import MarkFiles
from kdguard.service.marks.vault import Vault


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
    checks = {
        "watermark": watermarks.written,
        "radioactivity": watermarks.learnt,
        "canary": _canary,
        "twins": _twins,
    }
    return checks[asked["kind"]](asked, mark, files, vault, progress)


def _canary(asked: Told, mark: Told, files: MarkFiles, vault: Vault, progress: Progress) -> Outcome:
    generation = vault.keys(files.tenant).generation(mark["generation"])
    with files.opened("canary", asked["name"]) as path:
        plan = canary_planning.read_plan(path, generation)
    progress(0.2)
    rows, clean, accounts = asked["answers"], asked["clean"], asked["accounts"]
    if column_of(rows, ("logprob", "response")) == "logprob":
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
        case = case_of(found[0].detector, keys, plan.parameters, statistics, asked)
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
        case = case_of(found[0].detector, keys, plan.parameters, statistics, asked)
    searched = f"epoch {plan.epoch}, {len(plan.sites):,} accounts, {len(preferences):,} sites"
    return _named(found, searched, asked["alpha"], case)


def _preferences(rows: Rows, plan: twins_planning.Plan) -> dict[str, float]:
    if column_of(rows, ("logprob_0", "response")) == "response":
        return from_texts(_answers(rows), plan.answers)
    known = (row for row in rows if row["site_id"] in plan.answers)
    return from_likelihoods((row["site_id"], row["logprob_0"], row["logprob_1"]) for row in known)


def _named(found: Sequence[Evidence], searched: str, alpha: float, case: Case | None) -> Outcome:
    hits = any(one.p_value is not None and one.p_value <= alpha for one in found)
    lines = [asdict(one) for one in found]
    return Outcome(lines=lines, found=hits, alpha=alpha, searched=searched, case=case)


def _answers(rows: Rows) -> list[tuple[str, str]]:
    return [(row["site_id"], row["response"]) for row in rows]


def _likelihoods(rows: Rows) -> list[tuple[str, Sequence[int], float]]:
    return [(row["site_id"], row["reply"], row["logprob"]) for row in rows]
