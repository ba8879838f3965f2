"""What accounts leave behind in a log, asked of the spill in bounded memory.

Groups are formed on half 0 of every account's sessions and tested on half 1; no method here mixes the two, except
`lifetimes`, which says so. Aggregation is DuckDB's: no Python loop runs over exchanges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.embedding import SIGNS, unpack
from kdguard.features.session import Cursor, Rows, rows_from
from kdguard.features.signals import FLAGS, SIGNALS
from kdguard.scoring.facts import Facts
from kdguard.scoring.spill import connect

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CALLER_KINDS = ("network", "user_agent", "tls", "key", "system")
FRAME_KINDS = ("head", "tail")
RECORD_KINDS = ("payment", "email_domain")
ROWS_PER_ACCOUNT = 64
"""Half-1 requests of one account that a group is tested on: no account may speak for the others by its volume."""
FRAME_SHARE = 0.15
"""Share of an account's prompts that must begin (or end) alike, with different contents, to be its frame."""
TECHNIQUES = 12
UNFAMILIAR = 12
"""Column of wordings after the techniques: random text, which no classifier of wording finds."""
WORDINGS = 13
_DAY_US = 86_400_000_000
UNFAMILIAR_BELOW = 154
"""Familiarity (`kdguard.features.familiarity`, share x 256) below which a text is random-like; it must be known."""
PIVOT_SHARE = 0.9
"""Share of an account's requests, from a day after a model's first appearance on, that must go to it."""
_PIVOTS = f"""
    WITH models AS (
        SELECT model, min(time_us) AS born FROM signals JOIN every_account USING (subject)
        WHERE NOT half AND time_us > 0 AND model <> 0 GROUP BY model HAVING count(DISTINCT owner) >= 5
    ), fresh AS (
        SELECT model, born FROM models
        WHERE born > (SELECT min(time_us) FROM signals WHERE NOT half AND time_us > 0) + 3 * {_DAY_US}
        ORDER BY born DESC LIMIT 8
    )
    SELECT 1::UBIGINT AS code, subject FROM (
        SELECT subject, f.model, count(*) FILTER (time_us < born) AS earlier,
               count(*) FILTER (time_us >= born + {_DAY_US}) AS later,
               count(*) FILTER (time_us >= born + {_DAY_US} AND s.model = f.model) AS moved
        FROM signals s CROSS JOIN fresh f WHERE NOT half AND time_us > 0 GROUP BY ALL
    ) WHERE earlier > 0 AND later >= 2 AND moved >= {PIVOT_SHARE} * later
"""
ASKS_PROBABILITIES, ASKS_CHOICES = 1, 2
"""Codes of rare options: log-probabilities or token biases, else several answers."""
_OPTIONS = f"""
    SELECT asked AS code, subject FROM (
        SELECT subject, count(*) AS n, CASE
            WHEN flags & {FLAGS["logprobs"] | FLAGS["logit_bias"]} > 0 THEN {ASKS_PROBABILITIES}::UBIGINT
            WHEN flags & {FLAGS["many_choices"]} > 0 THEN {ASKS_CHOICES}::UBIGINT END AS asked
        FROM signals WHERE NOT half GROUP BY ALL
    ) QUALIFY asked IS NOT NULL AND n >= 3 AND n >= 0.5 * sum(n) OVER (PARTITION BY subject)
"""
_HABITS = {"pivot": _PIVOTS, "options": _OPTIONS}
LOG_KINDS = CALLER_KINDS + FRAME_KINDS + tuple(_HABITS)
_MEMORY_MB = 768
_CHUNK_ROWS = 65_536


class Traces:
    """The two halves of some accounts' signals.

    Args:
        folders: Folders of sealed spills; each account is in one of them.
        facts: Facts of the accounts to look at, and of no others.
        memory_mb: Memory DuckDB may use before it goes to disk.
    """

    def __init__(self, folders: Sequence[Path], facts: Facts, *, memory_mb: int = _MEMORY_MB) -> None:
        self.facts = facts
        self._connection = connect(folders[0], "groups", memory_mb)
        self._fill("every_account", {"subject": facts.subject, "owner": facts.owner})
        parts = [str(part) for folder in folders for part in sorted(folder.glob("part-*.parquet"))]
        if not parts:
            self._fill("signals", pa.Table.from_batches([], SIGNALS))
        else:
            self._connection.read_parquet(parts).create_view("parts")
            self._connection.execute(
                "CREATE TEMP VIEW signals AS SELECT parts.* FROM parts SEMI JOIN every_account USING (subject)"
            )
        self._fill_held()

    def __enter__(self) -> Traces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, query: str, **tables: Mapping[str, npt.NDArray[Any]]) -> pa.Table:
        """Run a query over `held` (kind, code, subject) and tables handed in as columns."""
        for name, columns in tables.items():
            self._fill(name, columns)
        return self._connection.sql(query).to_arrow_table()

    def spoken(self) -> Ints:
        """Half-0 requests with text of each account, aligned with `facts`, shape (m,)."""
        counted = self.ask(
            "SELECT subject, count(*)::BIGINT AS n FROM signals WHERE NOT half AND has_text GROUP BY subject"
        )
        total = np.zeros(len(self.facts), np.int64)
        total[self._place(counted)] = counted.column("n").to_numpy()
        return total

    def wording(self, row: Ints, rows: int) -> Ints:
        """Half-0 requests that read like each technique or like random text, shape (rows, 13).

        Args:
            row: Where each account's requests are added, shape (m,); -1 = nowhere.
            rows: Rows of the result.
        """
        counted = self.ask(
            f"""
            SELECT subject, technique::BIGINT AS technique, count(*) FILTER (margin > 0)::BIGINT AS high,
                   count(*) FILTER (familiarity >= 0 AND familiarity < {UNFAMILIAR_BELOW})::BIGINT AS unfamiliar
            FROM signals SEMI JOIN wanted USING (subject) WHERE NOT half AND has_text GROUP BY ALL
            """,
            wanted={"subject": self.facts.subject[row >= 0]},
        )
        high = np.zeros((rows, WORDINGS), np.int64)
        at = row[self._place(counted)]
        np.add.at(high, (at, counted.column("technique").to_numpy()), counted.column("high").to_numpy())
        np.add.at(high[:, UNFAMILIAR], at, counted.column("unfamiliar").to_numpy())
        return high

    def sign_sums(self, row: Ints, rows: int) -> npt.NDArray[np.int32]:
        """Sums of sign vectors of half-0 prompts, shape (rows, 128).

        Args:
            row: Where each account's prompts are added, shape (m,); -1 = nowhere.
            rows: Rows of the result.
        """
        sums = np.zeros((rows, SIGNS), np.int32)
        self._fill("wanted", {"subject": self.facts.subject[row >= 0]})
        relation = self._connection.sql(
            "SELECT subject, signs FROM signals SEMI JOIN wanted USING (subject) WHERE NOT half AND has_text"
        )
        for batch in relation.to_arrow_reader(_CHUNK_ROWS):
            at = row[self._place(batch)]
            order = np.argsort(at, kind="stable")
            place = at[order]
            packed = np.frombuffer(b"".join(batch.column("signs").to_pylist()), np.uint8).reshape(
                -1, SIGNS // 8
            )
            starts = np.flatnonzero(np.concatenate(([True], place[1:] != place[:-1])))
            sums[place[starts]] += np.add.reduceat(unpack(packed[order]), starts, axis=0, dtype=np.int32)
        return sums

    def lifetimes(self) -> tuple[Ints, Ints]:
        """First and last time of each account over both halves, in microseconds; 0 = the log has no time."""
        seen = self.ask(
            """
            SELECT subject, min(time_us) AS first_us, max(time_us) AS last_us
            FROM signals WHERE time_us > 0 GROUP BY subject
            """
        )
        first, last = np.zeros(len(self.facts), np.int64), np.zeros(len(self.facts), np.int64)
        at = self._place(seen)
        first[at], last[at] = seen.column("first_us").to_numpy(), seen.column("last_us").to_numpy()
        return first, last

    def tested(self, subjects: Codes) -> Rows:
        """Half-1 rows of some accounts, duplicates dropped, at most 64 an account, chosen by hash of the request."""
        table = self.ask(
            f"""
            SELECT {", ".join(SIGNALS.names)} FROM (
                SELECT *, row_number() OVER (PARTITION BY subject ORDER BY md5(request_id), choice) AS place FROM (
                    SELECT * FROM signals SEMI JOIN wanted USING (subject) WHERE half
                    QUALIFY row_number() OVER (
                        PARTITION BY subject, request_id, choice ORDER BY time_us, text, prompt_bytes, output_tokens
                    ) = 1
                )
            ) WHERE place <= {ROWS_PER_ACCOUNT}
            ORDER BY subject, time_us, request_id, choice
            """,
            wanted={"subject": np.unique(subjects)},
        )
        batches = table.cast(SIGNALS).combine_chunks().to_batches()
        return rows_from(batches[0] if batches else pa.RecordBatch.from_pylist([], SIGNALS), Cursor())[0]

    def _fill(self, name: str, columns: Mapping[str, npt.NDArray[Any]] | pa.Table) -> None:
        table = (
            columns
            if isinstance(columns, pa.Table)
            else pa.table({k: pa.array(v) for k, v in columns.items()})
        )
        self._connection.register("handed_in", table)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM handed_in")
        self._connection.unregister("handed_in")

    def _place(self, found: pa.Table | pa.RecordBatch) -> Ints:
        """Rows of `facts` of the accounts in a column `subject`."""
        return np.searchsorted(self.facts.subject, found.column("subject").to_numpy())

    def _fill_held(self) -> None:
        """Values that more than one owner shows on half 0 or in its record; what one owner has ties nobody.

        A kind at a time, since what takes memory are the values that nobody shares.
        """
        self._connection.execute("CREATE TEMP TABLE held (kind VARCHAR, code UBIGINT, subject UBIGINT)")
        for kind in RECORD_KINDS:
            codes = getattr(self.facts, kind)
            self._fill(kind, {"code": codes[codes != 0], "subject": self.facts.subject[codes != 0]})
        for kind in (*LOG_KINDS, *RECORD_KINDS):
            self._connection.execute(
                f"""
                INSERT INTO held
                WITH every AS MATERIALIZED (SELECT DISTINCT code, subject FROM ({_values(kind)}))
                SELECT '{kind}', code, subject FROM every SEMI JOIN (
                    SELECT code FROM every JOIN every_account USING (subject)
                    GROUP BY code HAVING min(owner) <> max(owner)
                ) USING (code)
                """
            )


def _values(kind: str) -> str:
    """SQL for the values of one kind: columns code and subject, rows may repeat."""
    if kind in _HABITS:
        return _HABITS[kind]
    if kind in RECORD_KINDS:
        return f"SELECT code, subject FROM {kind}"
    if kind in CALLER_KINDS:
        return f"SELECT {kind} AS code, subject FROM signals WHERE NOT half AND {kind} <> 0"
    return f"""
        SELECT {kind} AS code, subject FROM (
            SELECT subject, {kind}, count(DISTINCT text) AS fillings, count(*) AS n FROM signals
            WHERE NOT half AND {kind} <> 0 GROUP BY ALL
        ) QUALIFY fillings >= 2 AND n >= {FRAME_SHARE} * sum(n) OVER (PARTITION BY subject)
    """
