from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kdguard.errors import AccountsError
from kdguard.features.text import hash_identities
from kdguard.scoring.facts import Facts, accounts_table, gather, read_account_ids, read_accounts
from kdguard.scoring.passes import accounts_seen


def facts_of(frame: pd.DataFrame, ids: list[str]) -> Facts:
    return gather(np.array(ids, dtype=object), np.zeros(len(ids), np.uint64), accounts_table(frame))


def test_owner_is_organisation_else_card_else_account() -> None:
    frame = pd.DataFrame(
        {
            "account_id": ["a", "b", "c", "d"],
            "org_id": ["o", "o", None, None],
            "payment_hash": ["p", "q", "p", None],
        }
    )
    found = facts_of(frame, ["a", "b", "c", "d", "e"])
    owner = dict(zip(found.account_id, found.owner, strict=True))
    assert owner["a"] == owner["b"]
    assert owner["c"] not in {owner["a"], owner["d"], owner["e"]}
    assert len({owner[name] for name in "acde"}) == 4


def test_a_declared_workload_counts_only_when_verified() -> None:
    frame = pd.DataFrame(
        {"account_id": ["a", "b"], "declared_workload": ["evaluation"] * 2, "verified": ["true", "no"]}
    )
    found = facts_of(frame, ["a", "b", "z"])
    stratum = dict(zip(found.account_id, found.stratum, strict=True))
    assert stratum == {"a": "evaluation", "b": "unverified", "z": "unverified"}


def test_accounts_absent_from_the_table_are_unverified_and_known_to_be_absent() -> None:
    found = facts_of(pd.DataFrame({"account_id": ["a"]}), ["a", "z"])
    assert dict(zip(found.account_id, found.in_table, strict=True)) == {"a": True, "z": False}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name\nx\n", "must have a column account_id"),
        ("account_id\na\na\n", "must be unique"),
        ("account_id,verified\na,maybe\n", "verified"),
        ("account_id,created_at\na,03/04/24x\n", "created_at"),
    ],
)
def test_wrong_tables_say_what_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text(text)
    with pytest.raises(AccountsError, match=reason):
        read_accounts(path)


def test_csv_jsonl_and_parquet_read_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame({"account_id": ["a", "b"], "verified": [True, False], "plan": ["pro", None]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "t.parquet")
    tables = [read_accounts(tmp_path / name) for name in ("t.csv", "t.jsonl", "t.parquet")]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_subjects_are_hashes_of_ids_in_ascending_order() -> None:
    found = facts_of(pd.DataFrame({"account_id": list("abcdef")}), list("abcdef"))
    assert (np.diff(found.subject.astype(object)) > 0).all()
    import pyarrow as pa

    assert (hash_identities(pa.array(found.account_id.tolist())) == found.subject).all()


def test_account_ids_are_lines_and_may_hold_spaces(tmp_path: Path) -> None:
    listed = tmp_path / "thieves.txt"
    listed.write_text("\ufeffacct 1\r\n\n  acct-2  \n", encoding="utf-8")
    assert read_account_ids(listed) == ["acct 1", "acct-2"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_list_of_accounts_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    listed = tmp_path / "thieves.txt"
    if content is not None:
        listed.write_bytes(content)
    with pytest.raises(AccountsError, match=r"thieves\.txt: must be a text file with one account id a line"):
        read_account_ids(listed)


def test_accounts_left_out_must_be_in_the_log() -> None:
    log = [pa.record_batch({"org_id": pa.nulls(3, pa.string()), "account_id": pa.array(["a", "b", None])})]
    assert accounts_seen(log, None, ["b", "gone"]).account_id.tolist() == ["a"]
    with pytest.raises(AccountsError, match="got 1, such as 'B', and the log has none"):
        accounts_seen(log, None, ["B"])
