"""What the members of a group share, for people to check: kinds and salted hashes, never the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.rarity import Rarity
from kdguard.scoring.groups.traces import Traces

Codes = npt.NDArray[np.uint64]

KIND_WORDS = {
    "payment": ("payment instrument", "payment instruments"),
    "key": ("API key", "API keys"),
    "network": ("network", "networks"),
    "email_domain": ("mail domain", "mail domains"),
    "user_agent": ("client program", "client programs"),
    "tls": ("TLS fingerprint", "TLS fingerprints"),
    "system": ("system prompt", "system prompts"),
    "head": ("opening words", "openings"),
    "tail": ("closing words", "closings"),
    "options": ("rare call option", "rare call options"),
    "pivot": ("move to the new model within a day", "moves to new models within a day"),
}
_LEAST_WEIGHT = 1.5
_MOST = 40


@dataclass(frozen=True, slots=True)
class Attribute:
    """A value that at least two members of a group share.

    Attributes:
        kind: Kind of value, one of `KIND_WORDS`.
        code: Hash of the value.
        subjects: Accounts that have it.
        bits: Rarity among honest owners, -log2 of the chance that two share a value so uncommon.
    """

    kind: str
    code: int
    subjects: Codes
    bits: float


def shared_attributes(
    traces: Traces, rarity: Rarity, members: Sequence[Codes]
) -> tuple[tuple[Attribute, ...], ...]:
    """List what each group's members share, what ties most accounts by the rarest value first.

    Args:
        traces: The log; only half 0 and the accounts table are looked at.
        rarity: What is rare among honest owners.
        members: Accounts of each group.
    """
    if not members:
        return ()
    rows = traces.ask(
        """
        SELECT m.place, h.kind, h.code, list(h.subject ORDER BY h.subject) AS subjects
        FROM held h JOIN members m USING (subject) GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL
        """,
        members={
            "place": np.repeat(np.arange(len(members)), [len(part) for part in members]),
            "subject": np.concatenate(members),
        },
    ).to_pylist()
    weights = {kind: rarity.weights(kind) for kind in rarity.codes}
    found: list[list[Attribute]] = [[] for _ in members]
    for row in rows:
        kind, code = row["kind"], row["code"]
        known, missing = weights[kind]
        at = int(np.searchsorted(rarity.codes[kind], np.uint64(code)))
        hit = at < len(known) and int(rarity.codes[kind][at]) == code
        weight = float(known[at]) if hit else missing
        if weight >= _LEAST_WEIGHT:
            bits = weight / float(np.log10(2.0))
            found[row["place"]].append(Attribute(kind, code, np.array(row["subjects"], np.uint64), bits))
    return tuple(
        tuple(sorted(part, key=lambda item: (-len(item.subjects) * item.bits, item.kind, item.code))[:_MOST])
        for part in found
    )


def in_words(attributes: Sequence[Attribute]) -> list[str]:
    """One clause a kind: "14 accounts share 3 payment instruments"."""
    clauses = []
    for kind, (one, many) in KIND_WORDS.items():
        mine = [item for item in attributes if item.kind == kind]
        if mine:
            accounts = len(np.unique(np.concatenate([item.subjects for item in mine])))
            clauses.append(f"{accounts} accounts share {len(mine)} {one if len(mine) == 1 else many}")
    return clauses
