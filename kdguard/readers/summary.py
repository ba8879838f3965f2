"""What is in a log, in one pass and in memory that does not grow with it.

Accounts are counted exactly up to `_MOST_ACCOUNTS`; beyond that a sample of accounts, chosen by the hash of
their name, is followed from its first request to its last, and the figures are scaled up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.compute

from kdguard.exchanges.schema import EXCHANGES

pc: Any = pyarrow.compute  # its type stubs refuse much that it takes

_MOST_ACCOUNTS = 65_536
_BINS = ((1, 9), (10, 19), (20, 49), (50, 99), (100, 999), (1_000, 9_999), (10_000, None))
_QUIET = frozenset({"origin", "choice", "content_missing", "truncated", "source_format"})


@dataclass(slots=True)
class Summary:
    """A running summary of exchanges.

    Attributes:
        exchanges: Rows seen.
        filled: Rows that hold a value, by column.
        formats: Rows by reader.
        first: Earliest time.
        last: Latest time.
        truncated: Rows whose content is known to be cut.
        content_missing: Rows without a prompt.
    """

    exchanges: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    truncated: int = 0
    content_missing: int = 0
    _followed: Counter[str] = field(default_factory=Counter)
    _one_in: int = 1

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in one batch of exchanges."""
        self.exchanges += batch.num_rows
        for name in EXCHANGES.names:
            self.filled[name] += batch.num_rows - batch.column(name).null_count
        self.truncated += pc.sum(batch.column("truncated")).as_py() or 0
        self.content_missing += pc.sum(batch.column("content_missing")).as_py() or 0
        ends = pc.min_max(batch.column("time")).as_py()
        if ends["min"] is not None:
            self.first = min(ends["min"], self.first or ends["min"])
            self.last = max(ends["max"], self.last or ends["max"])
        for entry in pc.value_counts(batch.column("source_format")).to_pylist():
            self.formats[entry["values"]] += entry["counts"]
        for entry in pc.value_counts(batch.column("account_id").drop_null()).to_pylist():
            self._follow(entry["values"], entry["counts"])

    @property
    def accounts(self) -> int:
        """Number of accounts, exact unless `accounts_exact` is False."""
        return len(self._followed) * self._one_in

    @property
    def accounts_exact(self) -> bool:
        """Whether every account was followed."""
        return self._one_in == 1

    def accounts_with(self, requests: int) -> int:
        """Number of accounts with at least so many exchanges, exact unless `accounts_exact` is False."""
        return sum(count >= requests for count in self._followed.values()) * self._one_in

    def share(self, column: str) -> float:
        """Share of rows that hold a value, in [0, 1]."""
        return self.filled[column] / self.exchanges if self.exchanges else 0.0

    def told(self) -> dict[str, Any]:
        """The summary as plain values for JSON; columns without any value are left out."""
        return {
            "exchanges": self.exchanges,
            "formats": dict(self.formats),
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "accounts": self.accounts,
            "accounts_exact": self.accounts_exact,
            "unattributed": self.exchanges - self.filled["account_id"],
            "truncated": self.truncated,
            "content_missing": self.content_missing,
            "columns": {
                name: round(self.share(name), 4)
                for name in EXCHANGES.names
                if self.filled[name] and name not in _QUIET
            },
            "accounts_by_requests": self.histogram(),
        }

    def sections(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        """The summary in words: titles, each with rows of cells."""
        formats = ", ".join(f"{name} {count:,}" for name, count in self.formats.items())
        told = self.told()
        span = f"{told['first']} to {told['last']}" if self.first else "no exchange has one"
        about = "" if self.accounts_exact else "about "
        facts: list[tuple[str, ...]] = [
            ("exchanges", f"{self.exchanges:,}   ({formats})"),
            ("time", span.replace("T", " ").replace("+00:00", "Z")),
            ("accounts", f"{about}{self.accounts:,}, and {told['unattributed']:,} exchanges without one"),
            ("content", f"{self.content_missing:,} without a prompt, {self.truncated:,} known to be cut"),
        ]
        columns = ", ".join(f"{name} {share:.0%}" for name, share in told["columns"].items())
        counts = {label: count for label, count in self.histogram().items() if count}
        most = max(counts.values(), default=1)
        bars = [(label, f"{n:,}", "\N{FULL BLOCK}" * -(-40 * n // most)) for label, n in counts.items()]
        return [
            ("In the log", facts),
            ("Columns, by share of exchanges that have them", [(columns,)]),
            ("Accounts, by number of exchanges", [*bars]),
        ]

    def histogram(self) -> dict[str, int]:
        """Number of accounts by their number of exchanges."""
        bins = dict.fromkeys((_label(low, high) for low, high in _BINS), 0)
        for count in self._followed.values():
            low, high = next((a, b) for a, b in _BINS if b is None or count <= b)
            bins[_label(low, high)] += self._one_in
        return bins

    def _follow(self, account: str, count: int) -> None:
        if _place(account) % self._one_in:
            return
        self._followed[account] += count
        if len(self._followed) > _MOST_ACCOUNTS:
            self._one_in *= 2
            kept = {name: n for name, n in self._followed.items() if _place(name) % self._one_in == 0}
            self._followed = Counter(kept)


def _place(account: str) -> int:
    return int.from_bytes(blake2b(account.encode("utf-8", "replace"), digest_size=8).digest())


def _label(low: int, high: int | None) -> str:
    return f"{low:,} or more" if high is None else f"{low:,}-{high:,}"
