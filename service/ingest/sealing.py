"""Exchanges to the payload of a journal frame and back, each account's rows encrypted under its own key.

A payload is a JSON header (the columns, when it came, whose key each part is under), then the parts: Arrow record
batches without their schema, sealed by AES-256-GCM with a random nonce and bound to their tenant, frame and place.
The header holds no value of an exchange; that an account sent some rows at some time shows in it, by key number.
"""

from __future__ import annotations

import base64
import os
import struct
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from cryptography.exceptions import InvalidTag

from kdguard.errors import ServiceError
from kdguard.exchanges.schema import EXCHANGES
from kdguard.service.store.account_keys import NOBODY, AccountKeys

_SIZE = struct.Struct("<I")
_NONCE_BYTES = 12
_VERSION = 1


def seal(batches: Sequence[pa.RecordBatch], keys: AccountKeys, tenant: str, *, received_us: int) -> bytes:
    """Encrypt exchanges that came together.

    Args:
        batches: Exchanges in order of arrival, in the schema `EXCHANGES`.
        keys: Keys of the tenant's accounts; those of new accounts are made, durably.
        tenant: Whose exchanges.
        received_us: When they came.
    """
    frame, about = uuid.uuid4().hex, []
    parts: list[bytes] = []
    for batch in batches:
        kept = [field.name for field in EXCHANGES if batch.column(field.name).null_count < batch.num_rows]
        narrow = batch.select(kept).replace_schema_metadata(None)
        schema = pa.schema([pa.field(field.name, field.type) for field in narrow.schema])
        narrow = pa.RecordBatch.from_arrays(narrow.columns, schema=schema)
        sealed_parts = []
        accounts, groups = _by_account(narrow, batch.column("account_id"))
        for (key_id, cipher), group in zip(keys.of_accounts(accounts), groups, strict=True):
            nonce = os.urandom(_NONCE_BYTES)
            bound = _bound(tenant, frame, len(parts), key_id)
            sealed_part = nonce + cipher.encrypt(nonce, group.serialize().to_pybytes(), bound)
            parts.append(sealed_part)
            sealed_parts.append([key_id, len(sealed_part), group.num_rows])
        columns = base64.b64encode(schema.serialize()).decode()
        about.append({"columns": columns, "parts": sealed_parts})
    header = orjson.dumps({"version": _VERSION, "frame": frame, "received_us": received_us, "batches": about})
    return b"".join([_SIZE.pack(len(header)), header, *parts])


def unseal(
    payload: bytes, keys: AccountKeys, tenant: str, *, only: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Decrypt a payload, in its order; parts whose key was destroyed are left out.

    Args:
        payload: From `seal`.
        keys: Keys of the tenant's accounts.
        tenant: Whose exchanges.
        only: Number of the one key whose parts are wanted; None = all.

    Raises:
        ServiceError: A part was changed, or is of another tenant.
    """
    header, at, place = header_of(payload), _body_at(payload), 0
    present = {key_id for batch in header["batches"] for key_id, _, _ in batch["parts"]}
    known = keys.of_ids(present if only is None else present & {only})
    for batch in header["batches"]:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(batch["columns"])))
        opened = []
        for key_id, size, _ in batch["parts"]:
            part, at = payload[at : at + size], at + size
            if key_id in known:
                bound = _bound(tenant, header["frame"], place, key_id)
                try:
                    plain = known[key_id].decrypt(part[:_NONCE_BYTES], part[_NONCE_BYTES:], bound)
                except InvalidTag as error:
                    raise ServiceError(
                        "a part of the journal does not open: it was changed, or moved"
                    ) from error
                opened.append(pa.ipc.read_record_batch(pa.py_buffer(plain), schema))
            place += 1
        if opened:
            yield _widened(pa.Table.from_batches(opened).combine_chunks().to_batches()[0])


def header_of(payload: bytes) -> dict[str, Any]:
    """The header of a payload.

    Raises:
        ServiceError: It is of another version.
    """
    header = orjson.loads(payload[_SIZE.size : _body_at(payload)])
    if header["version"] != _VERSION:
        raise ServiceError(f"a journal frame must be of version {_VERSION}, got {header['version']}")
    return header


def _by_account(narrow: pa.RecordBatch, account_id: pa.Array[Any]) -> tuple[list[str], list[pa.RecordBatch]]:
    """Rows of each account, in order of arrival within it."""
    encoded = account_id.fill_null(NOBODY).dictionary_encode()
    accounts = [str(account) for account in encoded.dictionary.to_pylist()]
    code = encoded.indices.to_numpy(zero_copy_only=False)
    if len(accounts) == 1:
        return accounts, [narrow]
    order = np.argsort(code, kind="stable")
    ordered = narrow.take(order)
    edges = np.searchsorted(code[order], np.arange(len(accounts) + 1))
    groups = [ordered.slice(int(edges[at]), int(edges[at + 1] - edges[at])) for at in range(len(accounts))]
    return accounts, groups


def _widened(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [
        batch.column(field.name) if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type)
        for field in EXCHANGES
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EXCHANGES)


def _bound(tenant: str, frame: str, place: int, key_id: int) -> bytes:
    return f"{tenant} {frame} {place} {key_id}".encode()


def _body_at(payload: bytes) -> int:
    return _SIZE.size + int(_SIZE.unpack_from(payload)[0])
