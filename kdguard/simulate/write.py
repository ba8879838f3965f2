"""The folder form of a simulated world: a log in two formats, the accounts table, the truth, a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from kdguard.exchanges.schema import SCHEMA_VERSION
from kdguard.exchanges.whole import replaced
from kdguard.simulate.traffic import Simulated

JSONL_FIELDS = (
    "request_id",
    "time",
    "account_id",
    "org_id",
    "session_id",
    "model",
    "endpoint",
    "system",
    "prompt",
    "response",
    "input_tokens",
    "output_tokens",
    "status",
    "finish_reason",
    "client_ip",
    "user_agent",
    "temperature",
    "n",
    "max_tokens",
    "logprobs",
    "top_logprobs",
    "tools",
)
"""Fields of the flat JSONL log, the format of least effort."""
_CHUNK = 8_192


def write(simulated: Simulated, out: Path, *, seed: int, world_digest: str, split: str) -> dict[str, Any]:
    """Write a simulated world to a folder; the same world and seed give the same bytes.

    Args:
        simulated: What `simulate` returned.
        out: Folder to write, made if absent.
        seed: For the manifest.
        world_digest: For the manifest.
        split: For the manifest.

    Returns:
        The manifest.
    """
    files = write_log(simulated, out)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "kind": "traffic",
        "seed": seed,
        "split": split,
        "world_digest": world_digest,
        "counts": counts(simulated),
        "files": files,
    }
    (out / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
    return manifest


def write_log(simulated: Simulated, out: Path) -> dict[str, str]:
    """Write all but the manifest.

    Args:
        simulated: Traffic and the truth about it.
        out: Folder to write, made if absent.

    Returns:
        Digests of the files by name.
    """
    out.mkdir(parents=True, exist_ok=True)
    table = simulated.table()
    labels = simulated.request_labels.sort_by("request_id")
    writers: dict[str, Callable[[Path], object]] = {
        "accounts.csv": lambda path: pa_csv.write_csv(_plain(simulated.accounts), path),
        "exchanges.parquet": lambda path: pq.write_table(
            table, path, compression="zstd", row_group_size=65_536
        ),
        "labels_accounts.parquet": lambda path: pq.write_table(
            simulated.account_labels, path, compression="zstd"
        ),
        "labels_requests.parquet": lambda path: pq.write_table(labels, path, compression="zstd"),
        "log.jsonl": lambda path: _write_lines(table, path),
    }
    return {name: _whole(out / name, write_to) for name, write_to in writers.items()}


def _whole(path: Path, write_to: Callable[[Path], object]) -> str:
    """Write a file whole or not at all; its digest."""
    with replaced(path) as unfinished:
        write_to(unfinished)
    return digest(path)


def _write_lines(table: pa.Table, path: Path) -> None:
    with path.open("wb") as log:
        for chunk in jsonl(table):
            log.write(chunk)


def counts(simulated: Simulated) -> dict[str, int]:
    """How much there is of everything."""
    labels = simulated.account_labels
    campaigns = labels.column("campaign_id").drop_null().unique()
    return {
        "exchanges": simulated.request_labels.num_rows,
        "attack_exchanges": pc.sum(simulated.request_labels.column("is_attack")).as_py() or 0,
        "accounts": labels.num_rows,
        "attack_accounts": pc.sum(labels.column("is_attack")).as_py() or 0,
        "owners": len(labels.column("owner_id").unique()),
        "campaigns": len(campaigns),
    }


def jsonl(table: pa.Table) -> Iterator[bytes]:
    """The flat JSONL log, a chunk of lines at a time; absent values are left out."""
    flat = table.select(list(JSONL_FIELDS))
    has_tools = pc.is_valid(flat.column("tools"))
    flat = flat.set_column(flat.schema.get_field_index("tools"), "tools", has_tools)
    stamp = pc.strftime(flat.column("time"), format="%Y-%m-%dT%H:%M:%SZ")
    flat = flat.set_column(flat.schema.get_field_index("time"), "time", stamp)
    for piece in flat.to_batches(max_chunksize=_CHUNK):
        rows = ({k: v for k, v in row.items() if v is not None} for row in piece.to_pylist())
        lines = [orjson.dumps(row) for row in rows]
        yield b"\n".join(lines) + b"\n"


def _plain(accounts: pa.Table) -> pa.Table:
    """The accounts table with RFC 3339 times, for CSV."""
    opened = accounts.column("created_at").cast(pa.timestamp("s", "UTC"), safe=False)
    stamp = pc.strftime(opened, format="%Y-%m-%dT%H:%M:%SZ")  # type: ignore[call-overload,arg-type,unused-ignore]
    return accounts.set_column(accounts.schema.get_field_index("created_at"), "created_at", stamp)


def digest(path: Path) -> str:
    """BLAKE2 digest of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "blake2b").hexdigest()[:32]
