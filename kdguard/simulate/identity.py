"""Who an account is: its record, its addresses and its clients, drawn alike for everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.simulate.seeds import hex_id
from kdguard.simulate.setting import DAY, Setting, pick

STRATA = ("chat", "agent", "product", "evaluation", "batch", "gateway")
PLANS = ("free", "pro", "team", "pay_as_you_go", "enterprise")
AGENTS = (
    *(f"openai-python/1.{minor}.{patch}" for minor in (51, 68, 82, 99, 107) for patch in (0, 2)),
    *(f"openai-node/4.{minor}.0" for minor in (52, 77, 104)),
    *(f"python-requests/2.{minor}.{patch}" for minor in (31, 32) for patch in (0, 3)),
    *(f"python-httpx/0.{minor}.0" for minor in (26, 27, 28)),
    *(f"okhttp/4.{minor}.0" for minor in (10, 12)),
    "axios/1.7.9",
    "Go-http-client/2.0",
    "curl/8.7.1",
    "langchain/0.3.14",
    "litellm/1.63.2",
    "reqwest/0.12.9",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/139.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
)
TLS = tuple(
    f"t13d{a}{b}h2_{a * 7919 + b * 104729:012x}_{a * 15485863 + b:012x}"
    for a in (15, 16, 17)
    for b in range(10, 18)
)
MAIL_HOSTS = (
    "gmail.com",
    "outlook.com",
    "proton.me",
    "qq.com",
    "gmx.de",
    "yahoo.co.jp",
    "mail.ru",
    "icloud.com",
)
COUNTRIES = {
    "en": ("US", "GB", "IN", "CA", "AU", "IE", "SG"),
    "de": ("DE", "AT", "CH"),
    "es": ("ES", "MX", "AR", "CO"),
    "fr": ("FR", "BE", "CA", "CH"),
    "pt": ("BR", "PT"),
    "ru": ("KZ", "RU", "DE", "RS"),
    "zh": ("TW", "SG", "HK", "CN", "US"),
    "ja": ("JP",),
    "ko": ("KR",),
}
_SYLLABLES = (
    "al",
    "ber",
    "co",
    "dan",
    "el",
    "fin",
    "gra",
    "hol",
    "in",
    "jor",
    "ka",
    "lum",
    "mo",
    "nor",
    "or",
    "pe",
)


@dataclass(frozen=True)
class Client:
    """One address and program that requests come from; None where the metadata is stripped."""

    address: str | None
    agent: str | None
    tls: str | None


@dataclass(frozen=True)
class Identity:
    """An account's record and clients, one row of the accounts table."""

    account_id: str
    org_id: str | None
    key_hash: str
    created_at: int
    plan: str | None
    email_domain: str | None
    payment_hash: str | None
    country: str | None
    verified: bool | None
    declared_workload: str | None
    training_permitted: bool | None
    clients: tuple[Client, ...]

    @property
    def owner_id(self) -> str:
        """The owner that the record shows: organisation, else payment instrument, else the account."""
        return self.org_id or self.payment_hash or self.account_id


@dataclass(frozen=True)
class Shape:
    """How the identities of a workload differ from each other.

    Attributes:
        stratum: The true kind of workload, one of `STRATA`.
        addresses: Mean number of addresses an account uses.
        organised: Probability that the account belongs to an organisation.
        stripped: Probability that client metadata is missing.
        verified: Probability that a person checked who this is.
        permitted: A contract allows training on outputs.
    """

    stratum: str
    addresses: float = 2.0
    organised: float = 0.5
    stripped: float = 0.03
    verified: float = 0.5
    permitted: bool = False


def draw_identity(rng: np.random.Generator, setting: Setting, shape: Shape, language: str) -> Identity:
    """Draw one account's record and clients."""
    organised = rng.random() < shape.organised
    verified = rng.random() < shape.verified
    age = rng.exponential(220) + (0 if rng.random() < 0.9 else -rng.uniform(0, setting.days * 0.8))
    return Identity(
        account_id=hex_id(rng),
        org_id=hex_id(rng) if organised else None,
        key_hash=hex_id(rng, 16),
        created_at=setting.start - int(age * DAY),
        plan=pick(rng, PLANS, (0, 1, 3, 3, 3) if organised else (2, 4, 0.5, 4, 0)),
        email_domain=_company(rng) if organised or rng.random() < 0.2 else pick(rng, MAIL_HOSTS),
        payment_hash=hex_id(rng, 16) if rng.random() < 0.93 else None,
        country=pick(rng, COUNTRIES[language]) if rng.random() < 0.97 else None,
        verified=verified,
        declared_workload=_declared(rng, shape.stratum, verified),
        training_permitted=shape.permitted,
        clients=draw_clients(rng, setting, shape),
    )


def draw_clients(rng: np.random.Generator, setting: Setting, shape: Shape) -> tuple[Client, ...]:
    """The addresses and programs of one account; a third of the addresses are shared public exits."""
    if rng.random() < shape.stripped:
        return (Client(_address(rng, setting) if rng.random() < 0.5 else None, None, None),)
    count = 1 + int(rng.poisson(max(shape.addresses - 1, 0)))
    agents = [pick(rng, AGENTS) for _ in range(1 + int(rng.random() < 0.35))]
    tls = [pick(rng, TLS) for _ in agents]
    home = _network(rng)
    picks = rng.integers(len(agents), size=count).tolist()
    public = rng.random() < 0.3
    return tuple(
        Client(_address(rng, setting) if public else f"{home}.{int(rng.integers(1, 255))}", agents[i], tls[i])
        for i in picks
    )


def _network(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(3, 224))}.{int(rng.integers(256))}.{int(rng.integers(256))}"


def _address(rng: np.random.Generator, setting: Setting) -> str:
    return pick(rng, setting.exits)


def _company(rng: np.random.Generator) -> str:
    stem = "".join(pick(rng, _SYLLABLES) for _ in range(int(rng.integers(2, 5))))
    ending = pick(rng, ("", "soft", "tech", "labs", "group"))
    return f"{stem}{ending}.{pick(rng, ('com', 'io', 'net', 'eu', 'ai', 'org'))}"


def _declared(rng: np.random.Generator, stratum: str, verified: bool) -> str | None:
    if verified or rng.random() < 0.6:
        return stratum
    return pick(rng, STRATA) if rng.random() < 0.4 else None
