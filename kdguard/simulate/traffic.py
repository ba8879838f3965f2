"""From a world and a seed to exchanges, accounts and the truth about both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from kdguard.exchanges.schema import EXCHANGES
from kdguard.simulate import columns, results
from kdguard.simulate.bans import ban_time, cut_off
from kdguard.simulate.campaign import Campaign, Tactics, campaign_accounts
from kdguard.simulate.columns import Labelled, Rows
from kdguard.simulate.pools import Pools, Split
from kdguard.simulate.seeds import stream
from kdguard.simulate.setting import DAY, Setting, public_exits
from kdguard.simulate.workloads import WORKLOADS
from kdguard.simulate.world import World

BATCH_ROWS = 16_384


@dataclass(frozen=True)
class Simulated:
    """A simulated log and the truth about it.

    Attributes:
        exchanges: Batches of `kdguard.exchanges.schema.EXCHANGES`, in the order of owners' hashed names.
        accounts: The accounts table, schema `ACCOUNTS`.
        account_labels: One row an account: owner, campaign, technique, mix, workload, language, tactics.
        request_labels: One row a request: whether it belongs to a campaign, and by which technique.
    """

    exchanges: tuple[pa.RecordBatch, ...]
    accounts: pa.Table
    account_labels: pa.Table
    request_labels: pa.Table

    def table(self) -> pa.Table:
        """All exchanges in canonical order: time, then request id."""
        table = pa.Table.from_batches(self.exchanges, schema=EXCHANGES)
        return table.sort_by([("time", "ascending"), ("request_id", "ascending")])


def simulate(world: World, *, seed: int = 0, split: Split = "test", data: Path | None = None) -> Simulated:
    """Simulate a world.

    Args:
        world: Who lives in it.
        seed: Seed of everything drawn.
        split: Which prompts and wordings may be used; the splits share none of the texts.
        data: Folder with real prompts and documents; None uses the project's own texts.
    """
    setting = make_setting(world, seed, split, data)
    found = sorted(population(world, setting, seed), key=lambda pair: _order(pair[0]))
    parts: list[Rows] = []
    for name, labelled in found:
        rng = stream(seed, "results", name)
        account = labelled.account
        came_back = results.answer(setting, rng, account.activity, account.language)
        came_back = cut_off(came_back, account.activity.time, ban_time(account, seed, name))
        parts.append(columns.rows(labelled, came_back, rng))
    everyone = [labelled for _, labelled in found]
    return Simulated(
        exchanges=tuple(columns.batch(group) for group in _grouped(parts)),
        accounts=columns.accounts_table(everyone),
        account_labels=columns.account_labels(everyone),
        request_labels=columns.request_labels(parts),
    )


def make_setting(world: World, seed: int, split: Split, data: Path | None) -> Setting:
    """The stage of a world."""
    start = int(world.start.timestamp()) * 1_000_000
    return Setting(
        pools=Pools(split, data),
        start=start,
        days=world.days,
        volume_median=world.volume_median,
        volume_sigma=world.volume_sigma,
        volume_cap=world.volume_cap,
        release=start + int(min(world.release_day, world.days) * DAY),
        exits=public_exits(seed),
    )


def population(world: World, setting: Setting, seed: int) -> Iterator[tuple[str, Labelled]]:
    """Every account with a name for its random stream and the truth about it."""
    for workload, count in world.census().items():
        for i in range(count):
            name = f"{workload}-{i:06d}"
            accounts = WORKLOADS[workload](setting, stream(seed, "owner", name), None, None)
            for j, account in enumerate(accounts):
                yield f"{name}/{j}", Labelled(account, workload)
    for campaign in world.campaigns:
        campaign_id = hashlib.blake2b(f"{seed}/{campaign.name}".encode(), digest_size=6).hexdigest()
        for j, (workload, account) in enumerate(campaign_accounts(setting, campaign, seed, world.shares)):
            yield (
                f"campaign/{campaign.name}/{j}",
                Labelled(
                    account, workload, campaign_id, campaign.technique, campaign.mix, str(campaign.tactics)
                ),
            )


def _order(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _grouped(parts: list[Rows]) -> Iterator[list[Rows]]:
    group: list[Rows] = []
    size = 0
    for part in parts:
        group.append(part)
        size += len(part.attack)
        if size >= BATCH_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def campaign_world(
    *,
    technique: str,
    accounts: int = 100,
    requests: int | None = None,
    mix: float = 1.0,
    tactics: Tactics | None = None,
    language: str | None = None,
    like: World | None = None,
    name: str = "campaign",
) -> World:
    """A world with one campaign and no benign owner, for measuring power cheaply.

    Args:
        technique: One of `kdguard.simulate.techniques.TECHNIQUES`.
        accounts: Accounts of the campaign.
        requests: Requests of each account; None draws them like a benign account's.
        mix: Share of the requests that are attack.
        tactics: How it hides.
        language: Language of the wording; None draws one.
        like: World whose days, volumes and workload shares the skeletons follow; default the standard one.
        name: Names the random stream.
    """
    campaign = Campaign(technique, name, accounts, requests, mix, language, tactics or Tactics())
    return replace(like or World("standard", 0), name=name, owners=0, campaigns=(campaign,))
