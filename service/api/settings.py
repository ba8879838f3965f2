"""What can be set, from the environment (`KDGUARD_SERVICE_...`), from a folder of secrets, or by hand."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kdguard.distill.teachers.permission import check_address
from kdguard.errors import TeacherError

HOURS_HELD = 24.0
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
Scope = Literal["ingest", "read", "decide", "audit", "admin"]


class Oidc(BaseModel):
    """An OpenID Connect issuer whose access tokens are taken beside API keys.

    Attributes:
        issuer: Its URL, exactly as tokens name it.
        audience: Whom tokens must be made for.
        keys_url: Of its keys; by default the one in its discovery document.
        algorithms: Those that it signs with; only asymmetric ones.
        leeway_s: Seconds by which clocks may differ.
        tenant: Whose data tokens open, without `tenant_claim`.
        tenant_claim: Claim that names the tenant; tenants are made beforehand, by their first API key.
        tenants: Values of that claim, and the tenants they mean; empty = a value is the tenant's name.
        scope_claim: Claim that grants: words, or a list, e.g. `scope`, `roles`, `groups`.
        grants: What each of its values grants; others grant nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, Field(max_length=500)]
    audience: Annotated[str, Field(min_length=1, max_length=500)]
    keys_url: Annotated[str, Field(max_length=2000)] | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256", "EdDSA")
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    tenant: str = "default"
    tenant_claim: str | None = None
    tenants: dict[str, str] = {}
    scope_claim: str = "scope"
    grants: dict[str, tuple[Scope, ...]] = {f"kdguard:{scope}": (scope,) for scope in get_args(Scope)}

    @model_validator(mode="after")
    def _nobody_listens(self) -> Oidc:
        for url in filter(None, (self.issuer, self.keys_url)):
            if not is_safe_url(url):
                raise ValueError("issuer and keys_url must be https URLs (http only to loopback)")
        return self


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way can change what comes from a URL: https, or http on this machine."""
    try:
        parts = urlsplit(url)
        local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or local)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Kafka(BaseModel):
    """Topics whose messages are exchanges of one tenant.

    Attributes:
        servers: Brokers, `host:port`, separated by commas.
        topics: To subscribe to.
        group: Consumer group.
        format: Of the messages: a name in `kdguard.readers.FORMATS`, one JSON document a message, or `otlp_proto`.
        tenant: Whose exchanges; made if absent.
        options: Further properties of librdkafka, such as `security.protocol` and `sasl.password`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: Annotated[str, Field(min_length=1)]
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    group: Annotated[str, Field(min_length=1)] = "kdguard"
    format: str = "jsonl"
    tenant: str = "default"
    options: dict[str, SecretStr] = {}


class Suspect(BaseModel):
    """A model behind an OpenAI-compatible API that lineage audits of one tenant may ask.

    Attributes:
        name: By which an audit names it.
        url: Of the API, with its version.
        model: To ask for.
        key: API key, if it needs one.
        owned, permission: Whose it is, or who permits its use and where that is written; one of them is needed
            beyond this machine.
        requests_per_minute: Most requests; None = as many as go.
        concurrency: Requests under way at once.
        tenant: Whose audits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    url: Annotated[str, Field(max_length=2000)]
    model: Annotated[str, Field(min_length=1, max_length=200)]
    key: SecretStr | None = None
    owned: str | None = None
    permission: str | None = None
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=64)] = 8
    tenant: str = "default"

    @model_validator(mode="after")
    def _may_be_asked(self) -> Suspect:
        try:
            check_address(self.url, owned=self.owned, permission=self.permission)
        except TeacherError as error:
            raise ValueError(str(error)) from error
        return self


class Settings(BaseSettings):
    """Settings of the scoring service.

    Attributes:
        data: Folder of journals, signals, state and, by default, the database and the master key.
        database_url: SQLAlchemy URL of another database than `data/kdguard.db`.
        master_key_file: Master key in another place than `data/keys/master.key`.
        host, port: Where to listen. Another host than loopback needs an API key to exist.
        most_body_bytes: Largest body, unpacked, of ingestion.
        most_request_bytes: Largest body of every other route.
        body_s: Seconds within which a body must have arrived.
        most_ingests: Bodies that are read and written at once; more get 503.
        most_backlog_bytes: Journal that may wait to be scored; beyond it ingestion gets 429.
        least_free_bytes: Free disk below which ingestion gets 503.
        requests_per_minute: Of each API key that has no limit of its own.
        seal_s: Age at which a journal segment is ended, so that it can be scored.
        refresh_s: Seconds between two looks at all accounts, at least.
        groups_s: Seconds between two searches for groups, at least.
        hold_hours: Hours that bodies are kept, encrypted, after they were folded; at most 24 without retention.
        retain_days: Days that bodies are kept, for exhibits and lineage; 0 = retention is off.
        signal_days: Days before the newest exchange for which signals, and so scores, are kept; 0 = for ever.
        decision_ms: Time in which an inline decision is made; afterwards the request goes through, and is counted.
        policy: File of the gateway policy; without it every request goes through.
        dry_run: Whether decisions are only recorded, whatever the policy says.
        alpha, fdr: Levels, as of `kdguard score`.
        scores: Whether this process scores; otherwise `kdguard worker` must run beside it.
        private_webhooks: Whether webhooks may go to private addresses.
        trusted_proxies: Networks of TLS proxies whose `X-Forwarded-Proto` is believed, so that cookies are Secure.
        vault: Folder with the keys and ledger of each tenant's marks: `VAULT/TENANT/keys` and `VAULT/TENANT/ledger`.
        oidc: Issuer of bearer tokens, as JSON, or by `KDGUARD_SERVICE_OIDC__ISSUER` and so on; None = API keys only.
        suspects: Models that live lineage audits may ask, as a JSON list; no other address is ever asked.
        kafka: Topics to read exchanges from, as a JSON list; needs `kdguard[kafka]`.
        docs: Whether the interactive description is served; its page loads scripts from elsewhere.
    """

    model_config = SettingsConfigDict(
        env_prefix="KDGUARD_SERVICE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data: Path = Path("kdguard-data")
    database_url: SecretStr | None = None
    master_key_file: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    most_body_bytes: Annotated[int, Field(gt=0)] = 64 << 20
    most_request_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    body_s: Annotated[float, Field(gt=0)] = 30.0
    most_ingests: Annotated[int, Field(gt=0)] = 16
    most_backlog_bytes: Annotated[int, Field(gt=0)] = 4 << 30
    least_free_bytes: Annotated[int, Field(ge=0)] = 256 << 20
    requests_per_minute: Annotated[int, Field(gt=0)] = 120_000
    seal_s: Annotated[float, Field(gt=0)] = 2.0
    refresh_s: Annotated[float, Field(gt=0)] = 10.0
    groups_s: Annotated[float, Field(gt=0)] = 120.0
    hold_hours: Annotated[float, Field(ge=0)] = HOURS_HELD
    retain_days: Annotated[int, Field(ge=0)] = 0
    signal_days: Annotated[int, Field(ge=0)] = 400
    decision_ms: Annotated[float, Field(gt=0)] = 50.0
    policy: Path | None = None
    dry_run: bool = True
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.1
    scores: bool = True
    private_webhooks: bool = False
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    vault: Path | None = None
    oidc: Oidc | None = None
    suspects: tuple[Suspect, ...] = ()
    kafka: tuple[Kafka, ...] = ()
    docs: bool = False

    @model_validator(mode="after")
    def _bodies_go_in_time(self) -> Settings:
        if self.hold_hours > HOURS_HELD:
            raise ValueError("hold_hours must be at most 24; to keep bodies for longer set retain_days")
        return self

    @model_validator(mode="after")
    def _suspects_have_names(self) -> Settings:
        names = [(one.tenant, one.name) for one in self.suspects]
        if len(set(names)) < len(names):
            raise ValueError("suspects of one tenant must have different names")
        return self

    @property
    def database(self) -> str:
        """URL of the database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data / 'kdguard.db').absolute()}"

    @property
    def master_key(self) -> Path:
        """File of the master key."""
        return self.master_key_file or self.data / "keys" / "master.key"

    @property
    def hold_s(self) -> float:
        """Seconds that bodies are kept after folding."""
        return max(self.hold_hours * 3_600.0, self.retain_days * 86_400.0)
