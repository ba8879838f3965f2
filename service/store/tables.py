"""Every table. Times are microseconds since 1970; bodies are JSON text; nothing here holds a prompt."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_SERIAL = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself there


def _tenant(primary_key: bool = False) -> Column[str]:
    return Column("tenant", Text, ForeignKey("tenants.id"), nullable=False, primary_key=primary_key)


TENANTS = Table(
    "tenants",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("salt", LargeBinary, nullable=False),  # of account ids in the audit trail
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    _tenant(),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # keyed; the key itself is shown once and kept nowhere
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("requests_per_minute", Integer),
    Index("ix_api_keys_tenant", "tenant"),
)

ACCOUNT_KEYS = Table(
    "account_keys",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    _tenant(),
    Column("account_id", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    UniqueConstraint("tenant", "account_id"),
    sqlite_autoincrement=True,  # the id of a destroyed key must never name another
)

ACCOUNTS = Table(
    "accounts",
    METADATA,
    _tenant(primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("org_id", Text),
    Column("created_at", Text),
    Column("plan", Text),
    Column("email_domain", Text),
    Column("payment_hash", Text),
    Column("country", Text),
    Column("verified", Boolean),
    Column("declared_workload", Text),
    Column("training_permitted", Boolean),
)

VERDICTS = Table(
    "verdicts",
    METADATA,
    _tenant(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("rank", Float, nullable=False),  # the order of `kdguard score`: p_value, abstained last
    Column("decision", Text, nullable=False),
    Column("p_value", Float),
    Column("score", Float),
    Column("requests", BigInteger, nullable=False),
    Column("stratum", Text, nullable=False),
    Column("changed_us", BigInteger, nullable=False),  # when the decision last changed
    Column("before", Text),  # the decision before that
    Column("disposition", Text),
    Column("body", Text, nullable=False),  # the line of `kdguard score --json`
    Index("ix_verdicts_rank", "tenant", "kind", "rank", "subject"),
    Index("ix_verdicts_decision", "tenant", "kind", "decision", "rank", "subject"),
    Index("ix_verdicts_requests", "tenant", "kind", "requests", "subject"),
    Index("ix_verdicts_stratum", "tenant", "kind", "stratum", "rank", "subject"),
    Index("ix_verdicts_changed", "tenant", "kind", "changed_us", "subject"),
    # PostgreSQL orders texts as a language does, its primary key too: beginnings are found by their bytes
    Index(
        "ix_verdicts_beginning", "tenant", "kind", "subject", postgresql_ops={"subject": "text_pattern_ops"}
    ).ddl_if(dialect="postgresql"),
)

CHANGES = Table(
    "verdict_changes",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    _tenant(),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("before", Text),
    Column("after", Text, nullable=False),
    Column("p_value", Float),
    Index("ix_verdict_changes_subject", "tenant", "kind", "subject", "at_us"),
)

SUMMARIES = Table(
    "summaries",
    METADATA,
    _tenant(primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("segment", BigInteger, nullable=False),  # the last journal segment that counted
)

DISPOSITIONS = Table(
    "dispositions",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    _tenant(),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("ix_dispositions_subject", "tenant", "kind", "subject", "at_us"),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", Text, primary_key=True),
    _tenant(),
    Column("subject", Text, nullable=False),  # salted account id
    Column("at_us", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("applied", Boolean, nullable=False),  # false in a dry run
    Column("body", Text, nullable=False),
    Index("ix_decisions_at", "tenant", "at_us", "id"),
    Index("ix_decisions_subject", "tenant", "subject", "at_us"),
)

TRAIL = Table(
    "audit_trail",
    METADATA,
    _tenant(primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text),
    Column("details", Text, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)

TRAIL_HEADS = Table(
    "audit_heads",
    METADATA,
    _tenant(primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    _tenant(primary_key=True),
    Column("api_key", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_digest", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_idempotency_at", "at_us"),
)

BASELINES = Table(
    "baselines",
    METADATA,
    _tenant(primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("owners", Integer, nullable=False),
    Column("marked", Text),  # why it should be learnt anew: an account in it was deleted
)

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", Text, primary_key=True),
    _tenant(),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),  # waiting, running, done, failed
    Column("progress", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("leased_us", BigInteger),  # nobody else may take it before
    Column("created_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("given", Text, nullable=False),
    Column("result", Text),
    Index("ix_jobs_state", "state", "created_us"),
    Index("ix_jobs_tenant", "tenant", "created_us"),
)

WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("id", Text, primary_key=True),
    _tenant(),
    Column("url", Text, nullable=False),
    Column("wrapped_secret", LargeBinary, nullable=False),
    Column("events", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_webhooks_tenant", "tenant"),
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("id", Text, primary_key=True),
    _tenant(),
    Column("webhook", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),  # waiting, delivered, failed
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("said", Text),
    Index("ix_deliveries_due", "state", "next_us"),
)

REGISTRATIONS = Table(
    "registrations",
    METADATA,
    _tenant(primary_key=True),
    Column("kind", Text, primary_key=True),  # canary, watermark, model_release
    Column("name", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)
