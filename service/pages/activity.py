"""What an account did over time, and what some accounts share, read from the signals that are on disk."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from sqlalchemy import Row

from kdguard.features.signals import MARGIN_SCALE
from kdguard.features.text import hash_identities
from kdguard.report.plots import ClusterGraph
from kdguard.scoring.baseline import Baseline
from kdguard.scoring.facts import UNVERIFIED, Facts
from kdguard.scoring.groups.attributes import KIND_WORDS, shared_attributes
from kdguard.scoring.groups.traces import Traces
from kdguard.service.live.baselines import open_baseline

SUSPICIOUS_NATS = 3
"""Log-odds of extraction wording from which a request counts as suspicious, as in reports."""
MOST_MEMBERS = 300
DAY_S, HOUR_S = 86_400, 3_600
_MEMORY_MB = 128
_FEW_DAYS = 4
_FEWEST_BINS = 24
"""A burst within an hour is drawn as one, not as a wall."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Requests of one account by day, or by hour where there are only a few days.

    Attributes:
        bin_s: Seconds a bin.
        first: Number of the first bin since 1970.
        requests, suspicious: Counts by bin.
    """

    bin_s: int
    first: int
    requests: tuple[int, ...]
    suspicious: tuple[int, ...]


def activity_of(folder: Path, account: str) -> Activity | None:
    """Count an account's requests over time; None where no timed request of it is on disk.

    Args:
        folder: Folder of the signals.
        account: Which.

    Raises:
        duckdb.Error: Files were joined into larger ones under the reader; ask again.
    """
    if not any(folder.glob("part-*.parquet")):
        return None
    hours = _hours(folder, int(hash_identities(pa.array([account], pa.string()))[0]))
    if not len(hours):
        return None
    bin_s = HOUR_S if hours[-1, 0] - hours[0, 0] < 24 * _FEW_DAYS else DAY_S
    place = hours[:, 0] * HOUR_S // bin_s
    spare = max(0, _FEWEST_BINS - int(place[-1] - place[0]) - 1)
    first = int(place[0]) - spare // 2
    counts = np.zeros((2, int(place[-1]) - first + 1 + spare - spare // 2), np.int64)
    np.add.at(counts[0], place - first, hours[:, 1])
    np.add.at(counts[1], place - first, hours[:, 2])
    return Activity(bin_s, first, tuple(counts[0].tolist()), tuple(counts[1].tolist()))


def _hours(folder: Path, subject: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows (hour since 1970, requests, suspicious ones), ascending; copies of a request count once."""
    query = """
        SELECT hour, count(*), count(*) FILTER (margin >= ?) FROM (
            SELECT min(time_us) // 3600000000 AS hour, max(margin) AS margin
            FROM read_parquet(?) WHERE subject = ? AND time_us > 0 GROUP BY request_id, choice
        ) GROUP BY hour ORDER BY hour
    """
    settings: dict[str, Any] = {
        "memory_limit": f"{_MEMORY_MB}MB",
        "threads": 1,
        "temp_directory": str(folder / "pages"),
    }
    with duckdb.connect(config=settings) as connection:
        given = [SUSPICIOUS_NATS * MARGIN_SCALE, f"{folder}/part-*.parquet", subject]
        found = connection.execute(query, given).fetchall()
    return np.array(found, np.int64).reshape(-1, 3)


def graph_of(
    folder: Path,
    baseline: Baseline,
    name: str,
    members: Sequence[str],
    known: Mapping[str, Row[Any]],
    records: Mapping[str, Row[Any]],
    key: bytes,
) -> ClusterGraph:
    """What the members of a cluster share now, on the half of their sessions that groups are formed on.

    The group was found among all accounts; here its members are looked at alone, so a tie that needs the others to be
    told (a move to a model that is new to everybody) may be missing.

    Args:
        folder: Folder of the signals.
        baseline: What says how rare a coincidence is.
        name: Id of the cluster.
        members: Its accounts; the first `MOST_MEMBERS` are looked at.
        known: Their rows in the list of verdicts.
        records: Their rows in the accounts table.
        key: Of the marks that stand for shared values.
    """
    facts = _facts(list(members)[:MOST_MEMBERS], records)
    shared: Sequence[Any] = ()
    if baseline.groups is not None and folder.exists():
        with Traces([folder], facts, memory_mb=_MEMORY_MB) as traces:
            (shared,) = shared_attributes(traces, baseline.groups.rarity, [facts.subject])
    return {
        "id": name,
        "nodes": [_node(str(account), known) for account in facts.account_id],
        "attributes": [
            {
                "kind": KIND_WORDS[item.kind][0],
                "hash": hmac.digest(key, f"{item.kind} {item.code}".encode(), "sha256").hex()[:16],
                "weight": round(item.bits, 2),
                "members": np.searchsorted(facts.subject, item.subjects).tolist(),
            }
            for item in shared
        ],
    }


def _node(account: str, known: Mapping[str, Row[Any]]) -> Any:
    row = known.get(account)
    return {"id": account} | ({"requests": row.requests, "decision": row.decision} if row is not None else {})


def _facts(members: list[str], records: Mapping[str, Row[Any]]) -> Facts:
    """Each account as an owner of its own: what two accounts of one owner share is shown to people too."""
    subject = hash_identities(pa.array(members, pa.string()))
    order = np.argsort(subject)
    names = np.array(members, dtype=np.object_)[order]

    def codes(column: str) -> Any:
        values = [getattr(records.get(str(name)), column, None) for name in names]
        return hash_identities(pa.array(values, pa.string()))

    nothing = np.zeros(len(names), np.bool_)
    return Facts(
        subject=subject[order],
        account_id=names,
        owner=subject[order],
        stratum=np.full(len(names), UNVERIFIED, dtype=np.object_),
        verified=nothing,
        permitted=nothing,
        payment=codes("payment_hash"),
        email_domain=codes("email_domain"),
        country=np.full(len(names), None, dtype=np.object_),
        in_table=nothing,
    )


@lru_cache(maxsize=4)
def baseline_of(folder: Path, digest: str) -> Baseline:
    """A baseline, kept in memory: it is some megabytes, and read for every account that is looked at."""
    return open_baseline(folder, digest)


@lru_cache(maxsize=4)
def contributions_of(folder: Path, digest: str) -> dict[str, Any]:
    """What benign references contribute, as the figures of a report take it."""
    baseline = baseline_of(folder, digest)
    if baseline.contributions is None:
        return {}
    detectors = [
        {"detector": name, "quantiles": baseline.contributions[:, at].tolist()}
        for at, name in enumerate(baseline.suite.outputs)
    ]
    return {"contributions": {"detectors": detectors}}
