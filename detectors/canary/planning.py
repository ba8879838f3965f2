"""Planning an epoch of canaries under a budget, and the file that remembers it (`canaries.parquet`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.detectors.canary.claims import sites_digest
from kdguard.detectors.canary.forms import FAMILIES, REWRITTEN
from kdguard.detectors.canary.scoring import draw
from kdguard.detectors.canary.sites import Site, epoch_sites, flat_sizes
from kdguard.errors import CanaryError
from kdguard.ledger.canonical import canonical, parse, sha256
from kdguard.ledger.derivation import DerivedKey, KeyName
from kdguard.ledger.entries import commitment
from kdguard.ledger.keys import Generation
from kdguard.ledger.merkle import leaf_hash

SCHEMA_VERSION = 1
SCHEME = "canary"
_ACCOUNTS_AT_ONCE = 1_024

CANARIES: pa.Schema = pa.schema(
    [
        pa.field(
            "site_id",
            pa.string(),
            False,
            {"meaning": "place for a canary, shared by the accounts of an epoch"},
        ),
        pa.field("account_id", pa.string(), False, {"meaning": "whose responses are marked"}),
        pa.field("epoch", pa.string(), False, {"meaning": "period in which they are"}),
        pa.field("family", pa.string(), False, {"meaning": "form of the canary"}),
        pa.field("cue", pa.string(), False, {"meaning": "what to ask a suspect; empty: any answer is read"}),
        pa.field(
            "reply_digest",
            pa.string(),
            False,
            {"meaning": "SHA-256 of the account's salt, the site id and its reply"},
        ),
        pa.field(
            "leaf", pa.string(), False, {"meaning": "leaf hash of the account's commitment in the ledger"}
        ),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be marked.

    Attributes:
        share: Largest share of an account's responses that get an insertion.
        most: Largest number of insertions for one account.
        repetitions: How often one site is written; a student learns what it sees several times.
        rewrite_share: Share of responses whose spellings are drawn, by the families that rewrite; none by default. It
            changes no meaning, so it may be 1, and a small share teaches a student nothing.
    """

    share: float = 0.003
    most: int = 250
    repetitions: int = 5
    rewrite_share: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.share <= 0.05 and 0 <= self.rewrite_share <= 1):
            raise CanaryError(
                f"share must be in (0, 0.05] and rewrite share in [0, 1], got {self.share:g} and {self.rewrite_share:g}"
            )
        if not (self.repetitions >= 1 and self.most >= self.repetitions):
            raise CanaryError(f"most must be >= repetitions >= 1, got {self.most} and {self.repetitions}")

    def insertions(self, requests: int) -> int:
        """Sites that an account of so many requests in the epoch can learn."""
        return min(self.most, int(self.share * requests)) // self.repetitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An epoch of canaries.

    Attributes:
        epoch: Its name.
        generation: Number of the master key that its keys come from.
        budget: How much may be marked.
        families: Forms in use.
        marked: Number of sites of each account; they are the first ones of `sites`.
        sites: Of the epoch: rewritings first.
        parameters: What is committed to with every account's key.
    """

    epoch: str
    generation: int
    budget: Budget
    families: tuple[str, ...]
    marked: Mapping[str, int]
    sites: tuple[Site, ...]
    parameters: Mapping[str, Any]


def plan_epoch(
    keys: Generation,
    epoch: str,
    requests: Mapping[str, int],
    budget: Budget,
    families: Sequence[str] = FAMILIES,
    recall: float = 0.1,
) -> Plan:
    """Plan an epoch.

    Args:
        keys: Where its keys come from.
        epoch: Its name; one that was never used.
        requests: Requests expected of each account in the epoch.
        budget: How much may be marked.
        families: Forms in use.
        recall: Assumed rate at which a suspect gives a learnt value; sets weights only.

    Raises:
        CanaryError: No account can be marked within the budget, or the forms run out of subjects.
    """
    used = [name for name in families if budget.rewrite_share or name not in REWRITTEN]
    most = max((budget.insertions(count) for count in requests.values()), default=0)
    inserted = most if set(used) - REWRITTEN else 0
    sites = epoch_sites(_epoch_key(keys, epoch), inserted, used)
    rewritings = len(sites) - inserted
    marked = {
        account: rewritings + min(budget.insertions(count), inserted)
        for account, count in sorted(requests.items())
    }
    marked = {account: count for account, count in marked.items() if count}
    if not marked:
        needed = budget.repetitions / budget.share
        raise CanaryError(f"no account has the {needed:,.0f} requests that one site of this budget needs")
    parameters = {
        "accounts": len(marked),
        "epoch": epoch,
        "families": used,
        "insertions": inserted,
        "most": budget.most,
        "recall": recall,
        "repetitions": budget.repetitions,
        "rewrite_share": budget.rewrite_share,
        "share": budget.share,
        "sites_digest": sites_digest([site.row for site in sites]),
    }
    return Plan(
        epoch=epoch,
        generation=keys.number,
        budget=budget,
        families=tuple(used),
        marked=marked,
        sites=sites,
        parameters=parameters,
    )


def account_key(keys: Generation, account: str, epoch: str) -> DerivedKey:
    """The key that draws an account's replies."""
    return keys.derive(KeyName(SCHEME, account, epoch))


def commitments(plan: Plan, keys: Generation, moment: datetime) -> list[dict[str, Any]]:
    """One ledger entry an account, in the order of `plan.marked`."""
    return [
        commitment(account_key(keys, account, plan.epoch), plan.parameters, moment) for account in plan.marked
    ]


def write_plan(plan: Plan, keys: Generation, entries: Sequence[Mapping[str, Any]], path: Path) -> int:
    """Write `canaries.parquet`: one row an account and site. It tells cues, so keep it as close as the keys.

    Returns:
        Number of rows.
    """
    told = canonical({
        "schema_version": SCHEMA_VERSION,
        "generation": plan.generation,
        "marked": dict(plan.marked),
        "parameters": dict(plan.parameters),
    })  # fmt: skip
    with pq.ParquetWriter(path, CANARIES.with_metadata({"kdguard.canaries": told})) as writer:
        accounts = list(zip(plan.marked.items(), entries, strict=True))
        for start in range(0, len(accounts), _ACCOUNTS_AT_ONCE):
            batches = [
                _rows(plan, account_key(keys, account, plan.epoch), count, entry)
                for (account, count), entry in accounts[start : start + _ACCOUNTS_AT_ONCE]
            ]
            writer.write_table(pa.Table.from_batches(batches))
    return sum(plan.marked.values())


def plan_generation(path: Path) -> int:
    """Number of the master key that a canaries file was planned with."""
    return int(_told(path)["generation"])


def read_plan(path: Path, keys: Generation) -> Plan:
    """Read what `write_plan` wrote; sites are chosen again from the key.

    Raises:
        CanaryError: Another file, or other keys.
    """
    told = _told(path)
    params = told["parameters"]
    budget = Budget(**{name: params[name] for name in ("share", "most", "repetitions", "rewrite_share")})
    key = _epoch_key(keys, params["epoch"])
    sites = epoch_sites(key, params["insertions"], params["families"])
    if sites_digest([site.row for site in sites]) != params["sites_digest"]:
        raise CanaryError(
            f"{path}: was planned with other keys; give --keys of its generation {told['generation']}"
        )
    return Plan(
        epoch=params["epoch"],
        generation=told["generation"],
        budget=budget,
        families=tuple(params["families"]),
        marked=told["marked"],
        sites=sites,
        parameters=params,
    )


def _epoch_key(keys: Generation, epoch: str) -> bytes:
    return keys.derive(KeyName(SCHEME, "", epoch)).key.reveal()


def _rows(plan: Plan, key: DerivedKey, count: int, entry: Mapping[str, Any]) -> pa.RecordBatch:
    sites, leaf = plan.sites[:count], leaf_hash(canonical(dict(entry))).hex()
    drawn = draw(key.key.reveal(), flat_sizes(plan.sites))
    cuts = np.cumsum([len(site.sizes) for site in sites])
    salt = key.salt.reveal()
    replies = [
        sha256(salt, site.site_id.encode(), reply.tobytes())
        for site, reply in zip(sites, np.split(drawn, cuts)[:count], strict=True)
    ]
    columns = [
        [site.site_id for site in sites],
        [key.name.account] * count,
        [plan.epoch] * count,
        [site.form.family for site in sites],
        [site.cue for site in sites],
        replies,
        [leaf] * count,
    ]
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=CANARIES)


def _told(path: Path) -> Any:
    try:
        told = parse((pq.read_schema(path).metadata or {})[b"kdguard.canaries"])
    except (KeyError, pa.ArrowInvalid, OSError) as error:
        raise CanaryError(f"{path}: must be a canaries file that 'kdguard canary plan' wrote") from error
    if told["schema_version"] != SCHEMA_VERSION:
        raise CanaryError(f"{path}: must have schema version {SCHEMA_VERSION}, has {told['schema_version']}")
    return told
