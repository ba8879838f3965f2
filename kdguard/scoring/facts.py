"""What is known of accounts besides their requests: owner, stratum, permission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.errors import AccountsError
from kdguard.exchanges.schema import ACCOUNTS
from kdguard.features.text import hash_identities
from kdguard.readers.handed import data_frame

Codes = npt.NDArray[np.uint64]

UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts of m accounts, aligned with `subject`.

    Attributes:
        subject: Hash of the account id, ascending, shape (m,).
        account_id: The ids themselves.
        owner: Hash of org_id, else of payment_hash, else of the account itself.
        stratum: Declared workload where a person verified it, else "unverified".
        verified: A person checked who this is.
        permitted: A contract allows training on outputs.
        payment, email_domain: Hashes; 0 = not known.
        country: For fairness reports only; never read by a detector.
        in_table: Whether the accounts table knows the account.
    """

    subject: Codes
    account_id: npt.NDArray[np.object_]
    owner: Codes
    stratum: npt.NDArray[np.object_]
    verified: npt.NDArray[np.bool_]
    permitted: npt.NDArray[np.bool_]
    payment: Codes
    email_domain: Codes
    country: npt.NDArray[np.object_]
    in_table: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.subject)


def read_accounts(path: Path) -> pa.Table:
    """Read an accounts table from CSV, JSON lines or Parquet.

    Raises:
        AccountsError: The file cannot be read, has no `account_id`, or names an account twice.
    """
    frame = data_frame(path, AccountsError, nulls=[""])
    return accounts_table(frame, name=str(path))


def read_account_ids(path: Path) -> list[str]:
    """Read account ids, one a line; empty lines are left out.

    Raises:
        AccountsError: The file cannot be read, or is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AccountsError(
            f"{path}: must be a text file with one account id a line, got: {error}"
        ) from error
    return [line.strip() for line in lines if line.strip()]


def accounts_table(frame: pd.DataFrame, *, name: str = "accounts") -> pa.Table:
    """Bring a data frame into the accounts schema; absent columns become null.

    Raises:
        AccountsError: `account_id` is missing, null or repeated, or a cell cannot be read.
    """
    if "account_id" not in frame.columns:
        raise AccountsError(
            f"{name}: must have a column account_id, got {', '.join(map(str, frame.columns)) or 'no columns'}"
        )
    identity = frame["account_id"]
    if identity.isna().any():
        raise AccountsError(
            f"{name}: account_id must be set in every row, row {int(identity.isna().argmax())} has none"
        )
    repeated = identity[identity.duplicated()]
    if len(repeated):
        raise AccountsError(f"{name}: account_id must be unique, {len(repeated)} rows repeat one")
    arrays = []
    for field in ACCOUNTS:
        if field.name not in frame.columns:
            arrays.append(pa.nulls(len(frame), field.type))
            continue
        column = frame[field.name]
        try:
            if pa.types.is_boolean(field.type):
                arrays.append(pa.array(_booleans(column), field.type))
            elif pa.types.is_timestamp(field.type):
                times = pd.to_datetime(column, utc=True, format="ISO8601")
                arrays.append(pa.Array.from_pandas(times).cast(field.type, safe=False))
            else:
                arrays.append(
                    pa.array([None if pd.isna(value) else str(value) for value in column], field.type)
                )
        except (ValueError, TypeError, pa.ArrowInvalid) as error:
            raise AccountsError(f"{name}: column {field.name} must be {field.type}, got: {error}") from error
    return pa.Table.from_arrays(arrays, schema=ACCOUNTS)


def _booleans(column: pd.Series) -> list[bool | None]:
    words: Mapping[str, bool] = {
        "true": True,
        "1": True,
        "yes": True,
        "false": False,
        "0": False,
        "no": False,
    }
    values: list[bool | None] = []
    for value in column:
        if pd.isna(value):
            values.append(None)
            continue
        word = str(value).strip().lower().removesuffix(".0")
        if word not in words:
            raise ValueError(f"{value!r} is neither true nor false")
        values.append(words[word])
    return values


def gather(account_id: npt.NDArray[np.object_], org: Codes, accounts: pa.Table | None) -> Facts:
    """Join accounts seen in a log with the accounts table.

    Args:
        account_id: Ids seen in the log, unique, shape (m,).
        org: Hash of the organisation the log names for each, 0 = none.
        accounts: Accounts table, or None; accounts it does not know are unverified.
    """
    subject = hash_identities(pa.array(account_id, pa.string()))
    if accounts is not None:
        accounts = accounts.filter(pc.is_in(accounts.column("account_id"), pa.array(account_id, pa.string())))
    order = np.argsort(subject)
    account_id, org, subject = account_id[order], org[order], subject[order]
    if len(np.unique(subject)) != len(subject):
        raise AccountsError("two account ids share a 64-bit hash; rename one of them")
    frame = (accounts if accounts is not None else ACCOUNTS.empty_table()).to_pandas()
    joined = frame.set_index("account_id").reindex(account_id)

    def codes(name: str) -> Codes:
        return hash_identities(pa.array([None if pd.isna(v) else str(v) for v in joined[name]], pa.string()))

    verified = joined["verified"].eq(True).to_numpy(dtype=np.bool_)
    declared = joined["declared_workload"].to_numpy(dtype=object)
    stratum = np.array(
        [
            str(workload) if checked and not pd.isna(workload) else UNVERIFIED
            for workload, checked in zip(declared, verified, strict=True)
        ],
        dtype=object,
    )
    payment = codes("payment_hash")
    owner = codes("org_id")
    for fallback in (org, payment, subject):
        owner = np.where(owner == 0, fallback, owner)
    return Facts(
        subject=subject,
        account_id=account_id,
        owner=owner,
        stratum=stratum,
        verified=verified,
        permitted=joined["training_permitted"].eq(True).to_numpy(dtype=np.bool_),
        payment=payment,
        email_domain=codes("email_domain"),
        country=joined["country"].to_numpy(dtype=object),
        in_table=np.isin(account_id, frame["account_id"].to_numpy()),
    )


def join_facts(parts: Sequence[Facts]) -> Facts:
    """Join facts of disjoint accounts, subjects ascending from one part to the next."""
    names = (field.name for field in fields(Facts))
    return Facts(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
