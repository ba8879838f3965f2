"""Prometheus metrics. Labels are few and fixed; no account, tenant or key is ever one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter("kdguard_requests_total", "Requests", ["route", "method", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "kdguard_request_seconds",
    "Time to answer",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
    registry=REGISTRY,
)
INGESTED = Counter(
    "kdguard_exchanges_total", "Exchanges by what became of them", ["outcome"], registry=REGISTRY
)
DECISIONS = Counter("kdguard_decisions_total", "Inline decisions", ["action", "applied"], registry=REGISTRY)
FAILED_OPEN = Counter(
    "kdguard_decisions_failed_open_total", "Requests let through undecided", ["why"], registry=REGISTRY
)
BACKLOG_BYTES = Gauge("kdguard_backlog_bytes", "Journal that waits to be scored", registry=REGISTRY)
SCORED_AT = Gauge(
    "kdguard_scored_timestamp_seconds", "When the latest look at all accounts ended", registry=REGISTRY
)
LOOK_SECONDS = Histogram(
    "kdguard_look_seconds",
    "Time of a look at all accounts",
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300),
    registry=REGISTRY,
)
SUBJECTS = Gauge("kdguard_accounts", "Accounts by decision", ["decision"], registry=REGISTRY)
KAFKA_FAILURES = Counter("kdguard_kafka_failures_total", "Steps that failed", ["kind"], registry=REGISTRY)
SCORING_FAILURES = Counter("kdguard_scoring_failures_total", "Looks that failed", registry=REGISTRY)
