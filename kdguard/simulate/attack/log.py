"""The log that the teacher's owner would see: the attack's exchanges among those of benign customers, and the truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.exchanges.schema import ACCOUNTS, EXCHANGES
from kdguard.simulate import columns
from kdguard.simulate.activity import Account
from kdguard.simulate.attack.plan import Plan, take
from kdguard.simulate.attack.tables import BackgroundTable
from kdguard.simulate.attack.tactics.transform import names
from kdguard.simulate.columns import Labelled
from kdguard.simulate.results import latency_ms
from kdguard.simulate.seeds import stream
from kdguard.simulate.setting import HOUR, Floats, Setting
from kdguard.simulate.traffic import Simulated, simulate
from kdguard.simulate.world import World

REQUEST_LABELS: pa.Schema = columns.REQUEST_LABELS.append(pa.field("tactics", pa.string()))
"""As for simulated traffic, and the tactics that made or changed each request."""
_SET: dict[str, Any] = {
    "origin": "log",
    "source_format": "simulated",
    "messages": None,
    "truncated": None,
    "content_missing": None,
}
"""What a transcript knows and a log of this form does not, so that neither side of the truth can be told by it."""


def attack_log(
    exchanges: pa.Table,
    plan: Plan,
    *,
    tactics: str,
    name: str,
    seed: int = 0,
    background: Simulated | None = None,
) -> Simulated:
    """Join what was answered with the plan, and with benign traffic.

    Args:
        exchanges: Rows of the exchange schema, one a choice; those that are not of the plan are left out.
        plan: What was asked.
        tactics: Tactics and strengths, for the labels of accounts.
        name: Of the campaign; its hash is the campaign id.
        seed: Of the simulated latencies.
        background: Benign traffic of the same days.
    """
    ours = _as_logged(of_plan(exchanges, plan), stream(seed, "latency"))
    answered = set(ours["request_id"].to_pylist())
    sent = take(plan, np.flatnonzero([request in answered for request in plan.request_id]))
    campaign = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    accounts = [_labelled(sent, i, campaign, tactics) for i in sorted(set(sent.account.tolist()))]
    log = Simulated(
        exchanges=tuple(ours.select(EXCHANGES.names).cast(EXCHANGES).to_batches()),
        accounts=columns.accounts_table(accounts),
        account_labels=columns.account_labels(accounts),
        request_labels=_request_labels(sent),
    )
    return log if background is None else _mixed(log, background, _models(ours))


def of_plan(exchanges: pa.Table, plan: Plan) -> pa.Table:
    """Those rows that are of the plan; a folder that holds its log already has benign ones too."""
    return exchanges.filter(pc.is_in(exchanges["request_id"], value_set=pa.array(plan.request_id)))


def _as_logged(ours: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Columns as a log of this form has them: simulated latencies, and no null where benign rows have a value."""
    rows = ours.num_rows
    values = {
        name: pa.repeat(pa.scalar(value, EXCHANGES.field(name).type), rows) for name, value in _SET.items()
    }
    values["refused"] = pc.coalesce(ours["refused"], pa.scalar(False))
    values["latency_ms"] = pa.array(_latency(ours, rng))
    for column, found in values.items():
        ours = ours.set_column(ours.schema.get_field_index(column), EXCHANGES.field(column), found)
    return ours


def _latency(ours: pa.Table, rng: np.random.Generator) -> Floats:
    """One a request, by the tokens of all its choices; shape (rows,)."""
    _, request = np.unique(ours["request_id"].to_numpy(zero_copy_only=False), return_inverse=True)
    output = np.nan_to_num(ours["output_tokens"].to_pandas().to_numpy(np.float64))
    return latency_ms(np.bincount(request, output), rng)[request]


def benign_background(table: BackgroundTable, setting: Setting, days: int, seed: int) -> Simulated:
    """Benign owners over the days of the campaign."""
    from datetime import UTC, datetime

    world = World(
        name="background",
        owners=table.owners,
        days=days,
        start=datetime.fromtimestamp(setting.start / 1e6, UTC),
        volume_median=table.volume_median,
        volume_cap=table.volume_cap,
    )
    return simulate(world, seed=seed, split=setting.pools.split, data=setting.pools.data)


def _labelled(sent: Plan, account: int, campaign: str, tactics: str) -> Labelled:
    rows = np.flatnonzero(sent.account == account)
    own = take(sent, rows)
    who = sent.identities[account]
    # Whatever tactics did to the times: nobody asks before the account is open.
    opened = min(who.created_at, int(own.calls.time.min()) - HOUR)
    techniques = Counter(name for name in own.technique if name is not None)
    return Labelled(
        Account(replace(who, created_at=opened), own.calls),
        workload="campaign",
        campaign_id=campaign,
        technique=techniques.most_common(1)[0][0] if techniques else None,
        mix=float(own.attack.mean()),
        tactics=tactics,
    )


def _request_labels(sent: Plan) -> pa.Table:
    arrays: list[pa.Array[Any]] = [
        pa.array(sent.request_id, pa.string()),
        pa.array(sent.attack, pa.bool_()),
        pa.array(sent.technique, pa.string()),
        pa.array([names(bits) for bits in sent.tactics.tolist()], pa.string()),
    ]
    return pa.Table.from_arrays(arrays, schema=REQUEST_LABELS)


def _models(exchanges: pa.Table) -> list[str]:
    return sorted({name for name in exchanges["model"].to_pylist() if name is not None}) or ["teacher"]


def _mixed(log: Simulated, background: Simulated, models: Sequence[str]) -> Simulated:
    """Both together. Benign customers ask the same models, or the name alone would tell who is who."""
    table = background.table()
    renamed = pa.array(
        [models[len(name or "") % len(models)] for name in table["model"].to_pylist()], pa.string()
    )
    place = EXCHANGES.get_field_index("model")
    table = table.set_column(place, EXCHANGES.field("model"), renamed)
    labels = background.request_labels
    labels = labels.append_column("tactics", pa.nulls(labels.num_rows, pa.string())).cast(REQUEST_LABELS)
    return Simulated(
        exchanges=(*log.exchanges, *table.to_batches()),
        accounts=_joined(log.accounts, background.accounts).cast(ACCOUNTS),
        account_labels=_joined(log.account_labels, background.account_labels),
        request_labels=pa.concat_tables([log.request_labels, labels]),
    )


def _joined(one: pa.Table, other: pa.Table) -> pa.Table:
    return pa.concat_tables([one, other]).sort_by("account_id")
