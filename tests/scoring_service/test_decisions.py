"""Decisions: by the policy, explained, recorded, in time, and harmless by default."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kdguard.errors import ServiceError
from kdguard.service.gateway.deciding import Question, fits
from kdguard.service.gateway.facts import Facts, Standing, Wording
from kdguard.service.gateway.policy import Action, Policy, Rule, read_policy
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Running, running, scored, until

POLICY = """
schema_version = 1
dry_run = false

[[rule]]
name = "confirmed thieves are blocked"
actions = ["block"]
dispositions = ["confirmed"]

[[rule]]
name = "log-probabilities are stripped from accounts under review"
actions = ["strip_logprobs", "throttle"]
decisions = ["flag", "review"]
asks = ["logprobs"]
requests_per_minute = 2
"""
LOG = logs.rows(5)


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("enforcing")
    (folder / "policy.toml").write_text(POLICY)
    settings = {"policy": folder / "policy.toml", "dry_run": False, "decision_ms": 2_000}
    with running(folder / "data", **settings) as service:
        service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        scored(service.client, len(LOG))
        yield service


def decide(service: Running, **asked: Any) -> dict[str, Any]:
    told: dict[str, Any] = service.client.post("/v1/decide", json=asked).json()
    return told


def test_nothing_is_done_without_a_policy(service: Running) -> None:
    told = decide(service, account_id="a", texts=["hello"])
    assert told["actions"] == ["allow"]
    assert not told["applied"]


def test_rules_over_verdicts_and_requests(enforcing: Running) -> None:
    reviewed = {"decision": "review"}
    account = until(lambda: enforcing.client.get("/v1/accounts", params=reviewed).json()["items"])[0][
        "subject"
    ]
    assert decide(enforcing, account_id=account)["actions"] == ["allow"]
    told = [decide(enforcing, account_id=account, asks=["logprobs"]) for _ in range(4)]
    assert told[0]["actions"] == ["strip_logprobs", "throttle"]
    assert told[0]["requests_per_minute"] == 2
    assert [one["throttled"] for one in told] == [False, False, True, True]
    assert any("the verdict on the account is review, p = " in why for why in told[0]["because"])


def test_a_disposition_counts_at_once_and_the_decision_can_be_looked_up(enforcing: Running) -> None:
    account = enforcing.client.get("/v1/accounts", params={"limit": 1}).json()["items"][0]["subject"]
    body = {"disposition": "confirmed", "note": "sold answers"}
    assert enforcing.client.post(f"/v1/accounts/{account}/dispositions", json=body).status_code == 201
    told = decide(enforcing, account_id=account, call_id="call-7")
    assert told["actions"] == ["block"]
    kept = until(lambda: _found(enforcing, told["id"]))
    assert kept["would"] == ["block"]
    assert kept["call_id"] == "call-7"
    assert kept["because"] == told["because"]
    assert account not in str(kept)
    answer = enforcing.client.post(
        "/beta/litellm_basic_guardrail_api",
        json={
            "texts": ["hello"],
            "request_data": {"user_api_key_user_id": account},
            "input_type": "request",
            "litellm_call_id": "x",
        },
    ).json()
    assert answer["action"] == "BLOCKED"
    assert account not in answer["blocked_reason"]


def test_a_guardrail_lets_answers_and_strangers_through(enforcing: Running) -> None:
    for asked in ({"texts": ["x"], "input_type": "response"}, {"texts": ["x"], "request_data": {}}, {}):
        answer = enforcing.client.post("/beta/litellm_basic_guardrail_api", json=asked)
        assert answer.json()["action"] == "NONE"


def test_what_takes_too_long_goes_through_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, decision_ms=20) as service:
        gateway = service.app.state.service.gateway
        slow = gateway.facts.standing

        def slowly(facts: Facts, tenant: str, account: str) -> Standing:
            time.sleep(5)
            return slow(tenant, account)

        monkeypatch.setattr(Facts, "standing", slowly)
        began = time.monotonic()
        told = decide(service, account_id="somebody")
        took_s = time.monotonic() - began
        counted = service.client.get("/metrics").text
    assert told["actions"] == ["allow"]
    assert "20 ms" in told["because"][0]
    assert took_s < 4
    assert 'kdguard_decisions_failed_open_total{why="time"}' in counted


def test_every_condition_must_hold() -> None:
    rule = Rule(
        name="r",
        actions=(Action.BLOCK,),
        techniques=("cot_elicit",),
        min_margin_nats=2.0,
        in_cluster=True,
        permitted=False,
    )
    standing = Standing(decision="review", clusters=("c-1",))
    question = Question(account_id="a")
    assert fits(rule, question, standing, Wording("cot_elicit", 2.5))
    assert not fits(rule, question, standing, Wording("cot_elicit", 1.5))
    assert not fits(rule, question, standing, Wording("other", 9.0))
    assert not fits(rule, question, Standing(decision="review"), Wording("cot_elicit", 2.5))
    assert not fits(rule, question, Standing(clusters=("c",), permitted=True), Wording("cot_elicit", 2.5))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema_version = 2", "schema_version"),
        ('[[rule]]\nname = "x"\nactions = ["throttle"]', "requests_per_minute"),
        ('[[rule]]\nname = "x"\nactions = ["explode"]', "rule.0.actions"),
        ("[[rule", "must be TOML"),
        ('[[rule]]\nname = "x"\nactions = ["block"]\nwhen = "always"', "when"),
    ],
)
def test_policies_that_mean_nothing_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(ServiceError, match=says):
        read_policy(tmp_path / "policy.toml")


def test_unknown_techniques_are_refused() -> None:
    policy = Policy(rule=(Rule(name="r", actions=(Action.BLOCK,), techniques=("mind_reading",)),))
    with pytest.raises(ServiceError, match="mind_reading"):
        policy.check_techniques(["cot_elicit"])


def _found(service: Running, decision: str) -> Any:
    response = service.client.get(f"/v1/decisions/{decision}")
    return response.json() if response.status_code == 200 else None
