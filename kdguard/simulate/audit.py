"""Do accidents of the generator tell attackers apart? Classifiers on trivial fields, and on words.

Existing benchmarks fail here: in one public labelled log the user agent alone separates the classes
(Glasswally `datasets/labeled_5k.jsonl`, https://github.com/m0rs3c0d3/Glasswally).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kdguard.simulate.setting import Floats
from kdguard.simulate.traffic import Simulated

PRESENCE = (
    "org_id",
    "key_hash",
    "session_id",
    "client_ip",
    "user_agent",
    "tls_fingerprint",
    "system",
    "tools",
    "temperature",
    "n",
    "max_tokens",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "response",
    "finish_reason",
    "refused",
)
"""Fields whose share of nulls is a trivial feature."""
_RECORD = (
    "plan",
    "email_domain",
    "country",
    "verified",
    "declared_workload",
    "training_permitted",
    "payment_hash",
)


@dataclass(frozen=True)
class Audit:
    """Areas under the curve of account classifiers; .5 = the field says nothing.

    Attributes:
        trivial: Ids, nulls, user agent, account record and field presence; one account an owner.
        trivial_accounts: The same over all accounts, owners with many accounts included.
        words: Bag of words over an account's first prompts, one account an owner.
        accounts: Accounts that `trivial` rests on.
        attack: Attack accounts among them.
    """

    trivial: float
    trivial_accounts: float
    words: float
    accounts: int
    attack: int


def audit(simulated: Simulated, *, seed: int = 0, prompts: int = 20) -> Audit:
    """Measure how well trivial fields, and words, tell attack accounts from benign ones.

    Cross-validated in five folds; an owner, or a campaign, is never in two folds.

    Args:
        simulated: A world with at least 50 attack accounts in ten campaigns.
        seed: Seed of the classifiers and of the account chosen for each owner.
        prompts: Prompts of an account that the bag of words sees.
    """
    labels = simulated.account_labels.to_pandas().set_index("account_id")
    group = labels["campaign_id"].fillna(labels["owner_id"])
    target = labels["is_attack"].to_numpy(dtype=bool)
    features = trivial_features(simulated).reindex(labels.index).to_numpy(dtype=np.float64)
    chosen = _one_per_owner(labels, seed)
    texts = _texts(simulated, labels.index, prompts)
    return Audit(
        trivial=_forest_auc(features[chosen], target[chosen], group[chosen], seed),
        trivial_accounts=_forest_auc(features, target, group, seed),
        words=_words_auc([texts[i] for i in np.flatnonzero(chosen)], target[chosen], group[chosen], seed),
        accounts=int(chosen.sum()),
        attack=int(target[chosen].sum()),
    )


def trivial_features(simulated: Simulated) -> pd.DataFrame:
    """One row an account: what can be seen without looking at content, volume or time of requests."""
    table = pa.Table.from_batches(simulated.exchanges).select(
        ["request_id", "account_id", "endpoint", *PRESENCE]
    )
    frame = table.to_pandas()
    by_account = frame.groupby("account_id", sort=False)
    found = frame[list(PRESENCE)].isna().groupby(frame["account_id"], sort=False).mean().add_prefix("null_")
    for name in ("user_agent", "tls_fingerprint", "endpoint", "request_id", "key_hash", "client_ip"):
        first = by_account[name].first().fillna("")
        found[f"hash_{name}"] = [_number(value) for value in first]
        found[f"length_{name}"] = first.str.len()
    record = simulated.accounts.to_pandas().set_index("account_id").reindex(found.index)
    for name in _RECORD:
        values = record[name].astype("string").fillna("")
        found[f"record_{name}"] = [_number(value) for value in values]
        found[f"absent_{name}"] = values.eq("").to_numpy()
    found["created"] = record["created_at"].astype("int64").to_numpy() / 1e15
    found["account"] = [_number(value) for value in found.index]
    return found


def _number(value: str) -> float:
    return zlib.crc32(value.encode()) / 2**32


def _one_per_owner(labels: pd.DataFrame, seed: int) -> Any:
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels.iloc[order]
    first = ~shuffled["owner_id"].duplicated() | shuffled["is_attack"].astype(bool)
    return first.reindex(labels.index).to_numpy(dtype=bool)


def _texts(simulated: Simulated, accounts: Any, prompts: int) -> list[str]:
    table = pa.Table.from_batches(simulated.exchanges).select(["account_id", "prompt"]).to_pandas()
    head = table.groupby("account_id", sort=False).head(prompts)
    joined = head.groupby("account_id", sort=False)["prompt"].agg("\n".join)
    return [str(text) for text in joined.reindex(accounts)]


def _forest_auc(features: Floats, target: Any, group: Any, seed: int) -> float:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(300, min_samples_leaf=5, class_weight="balanced", random_state=seed)
    return _cross_validated(model, features, target, group, seed)


def _words_auc(texts: Sequence[str], target: Any, group: Any, seed: int) -> float:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    counts = HashingVectorizer(n_features=2**16, ngram_range=(1, 2), alternate_sign=False).transform(texts)
    model = LogisticRegression(C=30.0, max_iter=300, class_weight="balanced")
    return _cross_validated(model, counts, target, group, seed)


def _cross_validated(model: Any, features: Any, target: Any, group: Any, seed: int) -> float:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    scores = cross_val_predict(model, features, target, groups=group, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(target, scores))
