"""Drawing and committing an epoch of twins, and the file that remembers it (`twins.parquet`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.detectors import interview
from kdguard.detectors.twins.claims import sites_leaf
from kdguard.detectors.twins.coins import bias, released, site_id
from kdguard.detectors.twins.preferences import STATISTICS
from kdguard.errors import TwinsError
from kdguard.ledger import merkle
from kdguard.ledger.canonical import canonical, parse
from kdguard.ledger.derivation import DerivedKey, KeyName
from kdguard.ledger.entries import commitment
from kdguard.ledger.keys import Generation

if TYPE_CHECKING:
    from kdguard.distill.teachers.protocol import Teacher

SCHEMA_VERSION = 1
SCHEME = "twins"
_DRAWN = 4
"""Answers drawn to each prompt, of which the first two that differ are taken."""
CANDIDATES = ("request_id", "account_id", "prompt", "answer_0", "answer_1")


def _column(name: str, kind: pa.DataType, meaning: str) -> pa.Field[Any]:
    return pa.field(name, kind, nullable=False, metadata={"meaning": meaning})


TWINS: pa.Schema = pa.schema(
    [
        _column("site_id", pa.string(), "the pair of answers to a prompt, whoever gets it"),
        _column("request_id", pa.string(), "request that was answered"),
        _column("account_id", pa.string(), "who asked"),
        _column("prompt", pa.string(), "what was asked"),
        _column("answer_0", pa.string(), "one honest answer"),
        _column("answer_1", pa.string(), "another"),
        _column("released", pa.int8(), "number of the answer that the account gets"),
        _column("leaf", pa.string(), "leaf hash of the account's commitment in the ledger"),
    ]
)

Candidate = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An epoch of twins.

    Attributes:
        epoch: Its name.
        generation: Number of the master key that its keys come from.
        sites: Site ids of each account, sorted; accounts sorted.
        answers: Both answers of each site.
        prompts: What is asked at each site.
        parameters: What is committed to with every account's key.
    """

    epoch: str
    generation: int
    sites: Mapping[str, tuple[str, ...]]
    answers: Mapping[str, tuple[str, str]]
    prompts: Mapping[str, str]
    parameters: Mapping[str, Any]


def candidates_of(
    teacher: Teacher, prompts: Sequence[str], accounts: Sequence[str], *, max_tokens: int = 128
) -> list[Candidate]:
    """Two different answers of a teacher to each prompt, a row an account.

    Raises:
        TwinsError: To no prompt does the teacher say two different things.
    """
    drawn: dict[str, dict[str, None]] = {}
    asked = [(f"{place}", prompt) for place, prompt in enumerate(prompts)]
    for said in interview.answers(teacher, asked, times=_DRAWN, max_tokens=max_tokens):
        if said.response.strip():
            drawn.setdefault(said.prompt, {})[said.response] = None
    # sorted, so that which came first tells nothing
    pairs = {prompt: sorted(list(told)[:2]) for prompt, told in drawn.items() if len(told) > 1}
    if not pairs:
        raise TwinsError(f"{teacher.name} says one thing only to each of {len(prompts)} prompts; give others")
    return [
        (f"twin-{place}-{number}", account, prompt, pairs[prompt][0], pairs[prompt][1])
        for place, prompt in enumerate(prompts)
        if prompt in pairs
        for number, account in enumerate(accounts)
    ]


def plan_twins(
    keys: Generation,
    epoch: str,
    candidates: Sequence[Candidate],
    colluders: int = 1,
    statistic: str | None = None,
) -> Plan:
    """Plan an epoch.

    Args:
        keys: Where its keys come from.
        epoch: Its name; one that was never used.
        candidates: Rows (request id, account id, prompt, answer 0, answer 1), the answers both honest and unlike.
        colluders: Accounts thought to act together; 1 takes fair coins.
        statistic: "rank" or "sign", see `preferences.as_integers`; by default ranks on fair coins, signs on others.

    Raises:
        TwinsError: No candidates, equal answers, or an impossible setting.
    """
    chosen = statistic or ("rank" if colluders == 1 else "sign")
    if colluders < 1 or chosen not in STATISTICS or (colluders > 1 and chosen != "sign"):
        raise TwinsError(
            f"colluders must be >= 1 and the statistic one of {', '.join(STATISTICS)}, 'sign' for more than one; "
            f"got {colluders} and {chosen!r}"
        )
    sites, answers, prompts = _sites(candidates)
    leaves = [sites_leaf(account, list(ids)) for account, ids in sites.items()]
    parameters = {
        "accounts": len(sites),
        "colluders": colluders,
        "epoch": epoch,
        "sites_root": merkle.root(leaves).hex(),
        "statistic": chosen,
    }
    return Plan(
        epoch=epoch,
        generation=keys.number,
        sites=sites,
        answers=answers,
        prompts=prompts,
        parameters=parameters,
    )


def account_key(keys: Generation, account: str, epoch: str) -> DerivedKey:
    """The key that flips an account's coins; of account "", the key that draws the biases of the epoch."""
    return keys.derive(KeyName(SCHEME, account, epoch))


def commitments(plan: Plan, keys: Generation, moment: datetime) -> dict[str, dict[str, Any]]:
    """Ledger entries: the epoch's own key, then every account's."""
    return {
        account: commitment(account_key(keys, account, plan.epoch), plan.parameters, moment)
        for account in ("", *plan.sites)
    }


def write_plan(
    plan: Plan,
    keys: Generation,
    entries: Mapping[str, Mapping[str, Any]],
    candidates: Sequence[Candidate],
    path: Path,
) -> None:
    """Write `twins.parquet`; a gateway serves the answer that `released` numbers."""
    told = canonical({
        "schema_version": SCHEMA_VERSION,
        "generation": plan.generation,
        "parameters": dict(plan.parameters),
    })  # fmt: skip
    epoch_key = account_key(keys, "", plan.epoch).key.reveal()
    secrets = {account: account_key(keys, account, plan.epoch).key.reveal() for account in plan.sites}
    leaves = {account: merkle.leaf_hash(canonical(dict(entry))).hex() for account, entry in entries.items()}
    rows = []
    for request, account, prompt, *pair in candidates:
        site = site_id(prompt, pair)
        coin = released(secrets[account], site, bias(epoch_key, site, plan.parameters["colluders"]))
        rows.append((site, request, account, prompt, *pair, coin, leaves[account]))
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), TWINS, strict=True)
    ]
    table = pa.Table.from_arrays(columns, schema=TWINS)
    pq.write_table(table.replace_schema_metadata({"kdguard.twins": told}), path)


def read_plan(path: Path) -> Plan:
    """Read what `write_plan` wrote.

    Raises:
        TwinsError: Another file, or rows were changed.
    """
    try:
        table = pq.read_table(path)
        told = parse((table.schema.metadata or {})[b"kdguard.twins"])
    except (KeyError, pa.ArrowInvalid, OSError) as error:
        raise TwinsError(f"{path}: must be a twins file that 'kdguard twins plan' wrote") from error
    if told["schema_version"] != SCHEMA_VERSION:
        raise TwinsError(f"{path}: must have schema version {SCHEMA_VERSION}, has {told['schema_version']}")
    sites, answers, prompts = _sites(
        list(zip(*(table[name].to_pylist() for name in CANDIDATES), strict=True))
    )
    leaves = [sites_leaf(account, list(ids)) for account, ids in sites.items()]
    params = told["parameters"]
    if merkle.root(leaves).hex() != params["sites_root"]:
        raise TwinsError(f"{path}: rows were changed since they were committed to")
    return Plan(
        epoch=params["epoch"],
        generation=told["generation"],
        sites=sites,
        answers=answers,
        prompts=prompts,
        parameters=params,
    )


def released_answers(path: Path) -> dict[tuple[str, str], str]:
    """What a gateway serves: account and prompt -> the released answer, of what `write_plan` wrote.

    Raises:
        TwinsError: As for `read_plan`.
    """
    read_plan(path)
    columns = ("account_id", "prompt", "answer_0", "answer_1", "released")
    table = pq.read_table(path, columns=list(columns))
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return {(account, prompt): pair[chosen] for account, prompt, *pair, chosen in rows}


def _sites(
    candidates: Sequence[Candidate],
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, str]], dict[str, str]]:
    """Site ids by account, both sorted; both answers, and the prompt, of each site."""
    by_account: dict[str, set[str]] = {}
    answers: dict[str, tuple[str, str]] = {}
    prompts: dict[str, str] = {}
    for row, (_, account, prompt, *pair) in enumerate(candidates):
        if not all([account, prompt, *pair]) or pair[0] == pair[1]:
            raise TwinsError(f"candidate {row} must have an account, a prompt and two answers that differ")
        site = site_id(prompt, pair)
        by_account.setdefault(account, set()).add(site)
        answers[site] = (pair[0], pair[1])
        prompts[site] = prompt
    if not by_account:
        raise TwinsError("there are no candidates; give requests with two answers each")
    sites = {account: tuple(sorted(by_account[account])) for account in sorted(by_account)}
    return sites, answers, prompts
