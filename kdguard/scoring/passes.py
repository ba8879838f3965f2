"""The first two passes over a baseline's log: who is in it, and a fair sample of what honest prompts look like."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.errors import AccountsError
from kdguard.features.text import Codes, hash_identities, mix
from kdguard.scoring.facts import Facts, gather

SAMPLE_PROMPTS = 30_000
PROMPTS_PER_ACCOUNT = 20
SYSTEMS_PER_ACCOUNT = 3


def accounts_seen(
    exchanges: Iterable[pa.RecordBatch], accounts: pa.Table | None, exclude: Collection[str]
) -> Facts:
    """First pass: who is in the log, with the organisation the log names.

    Raises:
        AccountsError: Accounts are to be left out, and the log has none of them.
    """
    orgs: dict[str, int] = {}
    for batch in exchanges:
        org = pa.array(hash_identities(batch.column("org_id")))
        pairs = pa.table({"account": batch.column("account_id"), "org": org})
        for row in pairs.group_by("account").aggregate([("org", "max")]).to_pylist():
            if row["account"] is not None:
                orgs[row["account"]] = max(orgs.get(row["account"], 0), row["org_max"])
    if exclude and not any(name in orgs for name in exclude):
        raise AccountsError(
            f"of the accounts to leave out at least one must be in the log, got {len(exclude)}, such as "
            f"{next(iter(exclude))!r}, and the log has none; ids are compared letter for letter"
        )
    names = np.array(sorted(set(orgs) - set(exclude)), dtype=object)
    return gather(names, np.array([orgs[name] for name in names], np.uint64), accounts)


def sample_prompts(
    exchanges: Iterable[pa.RecordBatch], account_id: npt.NDArray[np.object_], seed: int
) -> list[str]:
    """Second pass: a few prompts of each account, chosen by keyed hash, so that no account speaks for all.

    System prompts are taken too: they are scored like prompts, so the classifier must know honest ones.
    """
    wanted = pa.array(account_id, pa.string())
    key = np.uint64(mix(np.array([seed + 7], np.uint64))[0])
    waiting: list[pd.DataFrame] = []
    for batch in exchanges:
        mine = batch.filter(pc.is_in(batch.column("account_id"), wanted))
        prompts = _drawn(mine, "prompt", mix(hash_identities(mine.column("request_id")) ^ key))
        systems = _drawn(mine, "system", mix(hash_identities(mine.column("system")) ^ key))
        waiting += [_fewest(prompts, PROMPTS_PER_ACCOUNT), _fewest(systems, SYSTEMS_PER_ACCOUNT)]
        if sum(map(len, waiting)) > 4 * SAMPLE_PROMPTS:
            waiting = _thinned(waiting)
    rows = pd.concat(_thinned(waiting)) if waiting else pd.DataFrame({"draw": [], "text": []})
    return [str(text) for text in rows.sort_values("draw")["text"].head(SAMPLE_PROMPTS)]


def _drawn(batch: pa.RecordBatch, column: str, draw: Codes) -> pd.DataFrame:
    texts = pd.Series(batch.column(column).to_pylist(), dtype=object)
    keep = texts.map(lambda text: bool(text and text.strip())).to_numpy(dtype=np.bool_)
    rows = {
        "subject": hash_identities(batch.column("account_id"))[keep],
        "draw": draw[keep],
        "text": texts[keep].to_numpy(),
        "column": column,
    }
    return pd.DataFrame(rows)


def _thinned(waiting: list[pd.DataFrame]) -> list[pd.DataFrame]:
    rows = pd.concat(waiting)
    return [
        _fewest(rows[rows["column"] == "prompt"], PROMPTS_PER_ACCOUNT),
        _fewest(rows[rows["column"] == "system"], SYSTEMS_PER_ACCOUNT),
    ]


def _fewest(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    ordered = rows.sort_values(["subject", "draw", "text"]).drop_duplicates(["subject", "draw"])
    return ordered.groupby("subject", sort=False).head(most)
