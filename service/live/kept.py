"""The state on disk, so that a start does not fold the whole log again.

They can always be made anew from the parts, so nothing waits for the disk: a folder that is unfinished or damaged
(each file's CRC-32 lies beside it) is not used, and everything is folded from the beginning.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from kdguard.errors import StateError
from kdguard.features.lateness import Seen
from kdguard.scan import Detector, Trajectories
from kdguard.scoring.states import from_arrow, to_arrow
from kdguard.service.live.identities import Identities
from kdguard.service.live.standing import SUMMARY, Standing
from kdguard.service.live.tenant_state import Plan, TenantState, resumed

_VERSION = 2
_ABOUT = "about.json"


def save(state: TenantState, folder: Path, detectors: Sequence[Detector]) -> None:
    """Keep the state, and drop what was kept of it before."""
    place = folder / f"{state.folded_to:012d}"
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tables = {
        "held": state.held,
        "ids": _table(id=state.known.ascending()),
        "seen": _table(subject=state.seen.subject, latest_us=state.seen.latest_us),
    }
    settled = {epoch: running.settled for epoch, running in state.running.items()}
    for epoch, standing in settled.items():
        tables[f"accounts-{epoch}"] = _accounts(standing)
        tables[f"states-{epoch}"] = pa.Table.from_batches([to_arrow(detectors, standing.states)])
        tables[f"scores-{epoch}"] = _scores(standing.trajectories)
    sums = {name: _write(partial / f"{name}.arrow", table) for name, table in tables.items()}
    about = {
        "version": _VERSION,
        "folded_to": state.folded_to,
        "plan": [state.plan.first_us, state.plan.length_us],
        "epochs": sorted(settled),
        "crc32": sums,
    }
    (partial / _ABOUT).write_bytes(orjson.dumps(about))
    before = [path for path in folder.iterdir() if path not in (place, partial)]
    shutil.rmtree(place, ignore_errors=True)
    os.rename(partial, place)
    for path in before:
        shutil.rmtree(path)


def load(folder: Path, detectors: Sequence[Detector]) -> TenantState | None:
    """The state as it was last kept; None where none is, or where it is damaged or of other detectors."""
    for place in sorted(folder.glob("[0-9]*"), reverse=True):
        try:
            return _load(place, detectors)
        except (StateError, OSError, KeyError, ValueError, pa.ArrowException):
            shutil.rmtree(place)
    return None


def _load(place: Path, detectors: Sequence[Detector]) -> TenantState:
    about = orjson.loads((place / _ABOUT).read_bytes())
    if about["version"] != _VERSION:
        raise StateError(f"kept state must be of version {_VERSION}, got {about['version']}")

    def table(name: str) -> pa.Table:
        content = (place / f"{name}.arrow").read_bytes()
        if zlib.crc32(content) != about["crc32"][name]:
            raise StateError(f"{name} is damaged")
        return pa.ipc.open_file(pa.py_buffer(content)).read_all()

    settled = {
        epoch: _standing(
            table(f"accounts-{epoch}"), table(f"states-{epoch}"), table(f"scores-{epoch}"), detectors
        )
        for epoch in about["epochs"]
    }
    seen = table("seen")
    state = TenantState(
        folded_to=about["folded_to"],
        plan=Plan(*about["plan"]),
        held=table("held"),
        known=Identities().plus(table("ids")["id"].to_numpy()),
        seen=Seen(seen["subject"].to_numpy(), seen["latest_us"].to_numpy()),
    )
    return resumed(state, settled, detectors)


def _accounts(standing: Standing) -> pa.Table:
    columns: dict[str, Any] = {name: getattr(standing, name) for name in SUMMARY}
    columns["account_id"] = pa.array(standing.account_id, pa.string())
    return _table(**columns)


def _scores(rows: Trajectories) -> pa.Table:
    width = rows.scores.shape[1]
    scores = pa.FixedSizeListArray.from_arrays(pa.array(rows.scores.reshape(-1)), width)
    return _table(subject=rows.subject, checkpoint=rows.checkpoint, time_us=rows.time_us, scores=scores)


def _table(**columns: Any) -> pa.Table:
    return pa.table(columns)


def _standing(
    accounts: pa.Table, states: pa.Table, scores: pa.Table, detectors: Sequence[Detector]
) -> Standing:
    columns: dict[str, Any] = {name: accounts[name].to_numpy() for name in SUMMARY if name != "account_id"}
    packed = states.combine_chunks().to_batches()
    unpacked = from_arrow(detectors, packed[0]) if packed else tuple(one.create() for one in detectors)
    lists: Any = scores["scores"].combine_chunks()
    flat = lists.flatten().to_numpy() if len(lists) else np.empty(0)
    rows = Trajectories(
        scores["subject"].to_numpy(),
        scores["checkpoint"].to_numpy(),
        scores["time_us"].to_numpy(),
        flat.reshape(-1, lists.type.list_size),
    )
    names = np.array(accounts["account_id"].to_pylist(), dtype=np.object_)
    return Standing(account_id=names, states=unpacked, trajectories=rows, **columns)


def _write(path: Path, table: pa.Table) -> int:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content = memoryview(sink.getvalue())
    path.write_bytes(content)
    return zlib.crc32(content)
