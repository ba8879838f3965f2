"""Worlds: small readable TOML files that say who lives in them and which campaigns run."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from kdguard.errors import WorldError
from kdguard.simulate.campaign import Campaign, Tactics
from kdguard.simulate.workloads import WORKLOADS

DEFAULT_SHARES: Mapping[str, float] = {
    "interactive": 0.22,
    "office": 0.05,
    "university_lab": 0.05,
    "coding_agent": 0.12,
    "ci_runner": 0.04,
    "product": 0.13,
    "migration": 0.03,
    "gateway": 0.05,
    "reseller": 0.02,
    "evaluation_sweep": 0.05,
    "product_judge": 0.05,
    "day_one_benchmark": 0.02,
    "security_research": 0.03,
    "labelling": 0.06,
    "extraction_job": 0.06,
    "synthetic_data": 0.02,
}


@dataclass(frozen=True)
class World:
    """A world of benign owners and campaigns.

    Attributes:
        name: Its name; part of no random stream, so a renamed world is the same world.
        owners: Benign owners in all.
        days: Length.
        start: First instant, UTC.
        release_day: Day on which a new model appears.
        volume_median: Median requests of an interactive account; other workloads have factors of it.
        volume_sigma: Spread of the log-normal volume.
        volume_cap: Most requests of one account.
        shares: Share of the owners per workload.
        campaigns: Campaigns that run in it.
    """

    name: str
    owners: int
    days: int = 30
    start: datetime = datetime(2026, 9, 1, tzinfo=UTC)
    release_day: float = 14.4
    volume_median: float = 45.0
    volume_sigma: float = 1.3
    volume_cap: int = 6_000
    shares: tuple[tuple[str, float], ...] = tuple(DEFAULT_SHARES.items())
    campaigns: tuple[Campaign, ...] = ()

    def __post_init__(self) -> None:
        unknown = {name for name, _ in self.shares} - WORKLOADS.keys()
        if unknown:
            known = ", ".join(WORKLOADS)
            raise WorldError(f"world '{self.name}': unknown workload {sorted(unknown)}; known: {known}")
        if self.owners < 0 or self.days < 1 or self.volume_cap < 1 or any(s < 0 for _, s in self.shares):
            raise WorldError(f"world '{self.name}': owners, days, volume_cap and shares must not be negative")
        if len({campaign.name for campaign in self.campaigns}) < len(self.campaigns):
            raise WorldError(f"world '{self.name}': two campaigns have the same name")

    @property
    def digest(self) -> str:
        """BLAKE2 digest of everything that shapes the traffic."""
        text = json.dumps(asdict(self) | {"name": ""}, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def census(self) -> dict[str, int]:
        """Owners per workload, by largest remainder."""
        total = sum(share for _, share in self.shares)
        if self.owners == 0 or total == 0:
            return {}
        exact = {name: self.owners * share / total for name, share in self.shares}
        counts = {name: int(value) for name, value in exact.items()}
        missing = self.owners - sum(counts.values())
        for name in sorted(exact, key=lambda name: (counts[name] - exact[name], name))[:missing]:
            counts[name] += 1
        return counts


def load_world(name_or_path: str | Path) -> World:
    """Load a packaged world by name or a world from a TOML file.

    Raises:
        WorldError: No such world, an unknown key, or a value that makes no sense.
    """
    path = Path(name_or_path)
    packaged = files("kdguard.simulate").joinpath("worlds", f"{name_or_path}.toml")
    if path.suffix != ".toml" and packaged.is_file():
        text, source = packaged.read_text(encoding="utf-8"), str(name_or_path)
    elif path.is_file():
        text, source = path.read_text(encoding="utf-8"), str(path)
    else:
        known = ", ".join(packaged_worlds())
        raise WorldError(f"no world '{name_or_path}'; packaged are: {known}, or give a TOML file")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WorldError(f"{source}: not valid TOML: {error}") from error
    return world_from(table, source)


def packaged_worlds() -> tuple[str, ...]:
    """Names of the worlds that come with kdguard."""
    found = files("kdguard.simulate").joinpath("worlds").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml")))


def world_from(table: Mapping[str, Any], source: str = "world") -> World:
    """Build a world from parsed TOML."""
    allowed = {item.name for item in fields(World)} | {"grids"}
    _only(table, allowed, source)
    values = dict(table)
    grids = values.pop("grids", [])
    listed = values.pop("campaigns", [])
    campaigns = [_campaign(entry, f"{source}: campaign {i + 1}") for i, entry in enumerate(listed)]
    for i, grid in enumerate(grids):
        campaigns += _expand(grid, f"{source}: grid {i + 1}")
    if "shares" in values:
        values["shares"] = tuple(values["shares"].items())
    if isinstance(values.get("start"), datetime) and values["start"].tzinfo is None:
        values["start"] = values["start"].replace(tzinfo=UTC)
    if "owners" not in values:
        raise WorldError(f"{source}: 'owners' is missing")
    return World(**{"name": source} | values, campaigns=tuple(campaigns))


def _only(table: Mapping[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(table.keys() - allowed)
    if unknown:
        raise WorldError(
            f"{where}: unknown key {', '.join(unknown)}; allowed are: {', '.join(sorted(allowed))}"
        )


def _campaign(table: Mapping[str, Any], where: str) -> Campaign:
    _only(table, {item.name for item in fields(Campaign)}, where)
    values = dict(table)
    tactics = values.pop("tactics", {})
    _only(tactics, {item.name for item in fields(Tactics)}, f"{where}: tactics")
    if "technique" not in values:
        raise WorldError(f"{where}: 'technique' is missing")
    values.setdefault("name", values["technique"])
    return Campaign(**values, tactics=Tactics(**tactics))


def _expand(grid: Mapping[str, Any], where: str) -> list[Campaign]:
    """Every combination of the lists in a grid; scalars and tactics are common to all."""
    listed = {key: value for key, value in grid.items() if isinstance(value, list)}
    common = {key: value for key, value in grid.items() if key not in listed}
    found = []
    for values in itertools.product(*listed.values()):
        chosen = dict(zip(listed, values, strict=True))
        one = _campaign(common | chosen, where)
        suffix = "-".join(str(value) for key, value in chosen.items() if key != "technique")
        found.append(replace(one, name=f"{common.get('name', '')}{one.technique}-{suffix}".strip("-")))
    return found
