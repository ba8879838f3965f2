"""A service with accounts of honest and hostile names, scored, with retention on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kdguard.evidence import Evidence, Guarantee
from kdguard.service.store import verdicts
from tests.scoring_service import logs
from tests.scoring_service.issuer import AUDIENCE, Issuer, issuing
from tests.scoring_service.made import cluster
from tests.scoring_service.running import NDJSON, Running, running, scored

HOSTILE = '"><script>alert(1)</script>'
CLUSTER, MEMBERS = "c-<7>", (HOSTILE, "thief-9", "thief-10")
ODD = ("../../etc/passwd", "a?b=c#d&e=%2F", "{{ 7 * 7 }}", "acct\u202e7", "ünï ćode/…", "' OR 1=1 --")


def log() -> list[dict[str, object]]:
    """Some of the thieves under hostile names."""
    made = logs.rows(41, accounts=8, thieves=4, requests=24)
    names = {"thief-8": HOSTILE} | dict(zip([f"honest-{at}" for at in range(6)], ODD, strict=True))
    for row in made:
        row["account_id"] = names.get(row["account_id"], row["account_id"])
        if row["account_id"] == HOSTILE:
            row["prompt"] += " <img src=x onerror=alert(2)> mail ann@example.org"
    return made


def cluster_row() -> dict[str, object]:
    """A cluster of three, as the worker stores them; this small log forms none of its own."""
    rank = Evidence(
        detector="coordination.rank",
        version="1",
        subject=CLUSTER,
        guarantee=Guarantee.DESCRIPTIVE,
        score=3.0,
        p_value=0.01,
        p_floor=0.01,
        n=72,
        contribution=0.0,
        summary="3 accounts share 1 network",
    )
    row = verdicts.verdict_row("default", cluster(CLUSTER, MEMBERS, (rank,)), None, 1)
    assert row is not None
    return row


@pytest.fixture(scope="session")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("pages") / "data", retain_days=1) as made:
        rows = log()
        facts = [{"account_id": name, "org_id": "org-x"} for name in (HOSTILE, "thief-9", "thief-10")]
        answer = made.client.post("/v1/accounts", content=logs.ndjson(facts), headers=NDJSON)
        assert answer.status_code < 300, answer.text
        made.client.post("/v1/exchanges", content=logs.ndjson(rows), headers=NDJSON)
        scored(made.client, len(rows))
        with made.app.state.service.database.write() as connection:
            verdicts.put_verdicts(connection, [cluster_row()], 1)
        yield made


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with issuing() as made:
        yield made


@pytest.fixture(scope="session")
def federated(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Running]:
    oidc = {
        "issuer": issuer.url,
        "audience": AUDIENCE,
        "grants": {"kdguard:read": ["read"], "auditors": ["read", "audit"], "senders": ["ingest"]},
        "leeway_s": 0,
    }
    with running(tmp_path_factory.mktemp("federated") / "data", oidc=oidc) as made:
        yield made
