"""Inline decisions: by the policy, in bounded time, explained, recorded."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from kdguard.service.gateway.facts import Facts, Standing, Wording
from kdguard.service.gateway.policy import Action, Policy, Rule
from kdguard.service.gateway.recording import Recorder
from kdguard.service.out.metrics import DECISIONS
from kdguard.service.rate_limit import RateLimit
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.secrets import salted

_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a gateway asks.

    Attributes:
        account_id: Whose request; None = nobody knows.
        texts: Prompts, newest last; they are looked at and never kept.
        model: Model that is asked for.
        asks: Options of the request that extraction uses.
        call_id: The gateway's name of the call.
    """

    account_id: str | None
    texts: Sequence[str] = ()
    model: str | None = None
    asks: frozenset[str] = frozenset()
    call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided.

    Attributes:
        id: Under which it is recorded.
        actions: What to do; in a dry run `allow`.
        would: What the policy says.
        applied: Whether `would` is to be done.
        rule: The rule that fitted.
        because: What it rested on, in sentences.
        requests_per_minute, max_tokens: Parameters of throttling and capping.
        throttled: Whether this request is over the account's rate.
    """

    id: str
    actions: tuple[Action, ...]
    would: tuple[Action, ...]
    applied: bool
    rule: str | None
    because: tuple[str, ...]
    requests_per_minute: int | None = None
    max_tokens: int | None = None
    throttled: bool = False


@dataclass(slots=True)
class Gateway:
    """Decides.

    Attributes:
        facts: What decisions rest on.
        policy: The rules.
        dry_run: Whether decisions are only recorded.
        recorder: Where they are recorded.
        threads: Where decisions are made that have to ask the database: few, so that one that hangs takes no more.
    """

    facts: Facts
    policy: Policy
    dry_run: bool
    recorder: Recorder
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "decide"))
    _rates: RateLimit = field(default_factory=RateLimit)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, tenant: str, question: Question) -> Decided:
        """Decide about one request."""
        account = question.account_id
        standing = Standing() if account is None else self.facts.standing(tenant, account)
        wording = self.facts.wording(tenant, question.texts) if self.policy.reads_words else Wording()
        rule = next((rule for rule in self.policy.rule if fits(rule, question, standing, wording)), None)
        would = rule.actions if rule is not None else (Action.ALLOW,)
        throttled = rule is not None and Action.THROTTLE in would and self._over(tenant, account, rule)
        applied = rule is not None and not self.dry_run
        decided = Decided(
            id=uuid.uuid4().hex,
            actions=would if applied else (Action.ALLOW,),
            would=would,
            applied=applied,
            rule=rule.name if rule is not None else None,
            because=_because(rule, question, standing, wording),
            requests_per_minute=rule.requests_per_minute if rule is not None else None,
            max_tokens=rule.max_tokens if rule is not None else None,
            throttled=throttled,
        )
        for action in would:
            DECISIONS.labels(action.value, str(applied).lower()).inc()
        self.recorder.put(
            _record(tenant, salted(self.facts.salt(tenant), account or ""), question, decided, standing)
        )
        return decided

    def close(self) -> None:
        """Record what is waiting."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.recorder.close()

    def _over(self, tenant: str, account: str | None, rule: Rule) -> bool:
        """Whether the account is over the rate of a rule that throttles; counts the request."""
        with self._lock:
            allowance = self._rates.take(f"{tenant}/{account}", float(rule.requests_per_minute or 1))
        return not allowance.allowed


def fits(rule: Rule, question: Question, standing: Standing, wording: Wording) -> bool:
    """Whether every condition of a rule holds."""
    holds = (
        not rule.decisions or standing.decision in [decision.value for decision in rule.decisions],
        not rule.dispositions or (standing.disposition or "none") in rule.dispositions,
        not rule.techniques
        or (wording.technique in rule.techniques and wording.margin_nats >= rule.min_margin_nats),
        not rule.asks or not question.asks.isdisjoint(rule.asks),
        not rule.models or question.model in rule.models,
        rule.in_cluster is None or bool(standing.clusters) == rule.in_cluster,
        rule.permitted is None or standing.permitted == rule.permitted,
        rule.guarantee_active is None or standing.guarantee_active == rule.guarantee_active,
    )
    return all(holds)


def _because(rule: Rule | None, question: Question, standing: Standing, wording: Wording) -> tuple[str, ...]:
    if rule is None:
        return ("no rule of the policy fits",)
    told = [f"rule '{rule.name}' is the first that fits"]
    p_value = "" if standing.p_value is None else f", p = {standing.p_value:.3g}"
    if rule.decisions or rule.guarantee_active is not None:
        guarantee = "active" if standing.guarantee_active else "not active"
        told.append(
            f"the verdict on the account is {standing.decision}{p_value}; the guarantee is {guarantee}"
        )
    if rule.dispositions:
        told.append(f"a person's disposition of the account is {standing.disposition or 'none'}")
    if rule.techniques:
        told.append(f"the request reads like {wording.technique}, log-odds {wording.margin_nats:.1f} nats")
    if rule.asks:
        told.append(f"the request asks for {', '.join(sorted(question.asks & set(rule.asks)))}")
    if rule.in_cluster is not None:
        told.append(f"the account is in clusters: {', '.join(standing.clusters) or 'none'}")
    if rule.permitted is not None:
        told.append(f"training on outputs is {'' if standing.permitted else 'not '}permitted to the account")
    return tuple(told)


def _record(
    tenant: str, subject: str, question: Question, decided: Decided, standing: Standing
) -> dict[str, Any]:
    body = {
        "actions": [action.value for action in decided.actions],
        "would": [action.value for action in decided.would],
        "rule": decided.rule,
        "because": list(decided.because),
        "throttled": decided.throttled,
        "call_id": question.call_id,
        "model": question.model,
        "asks": sorted(question.asks),
        "verdict": standing.decision,
        "p_value": standing.p_value,
    }
    return {
        "id": decided.id,
        "tenant": tenant,
        "subject": subject,
        "at_us": now_us(),
        "action": "+".join(action.value for action in decided.would),
        "applied": decided.applied,
        "body": body,
    }
