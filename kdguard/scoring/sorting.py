"""Signals in canonical order with duplicates gone, in memory that does not grow with the log.

Decision, 2026-11-28. Accounts are sorted a slice of their hashes at a time, each slice small enough for memory. Given
up: the log's column of hashes is read once more for each slice.

Decision, 2026-11-28. A slice that is larger than memory all the same, because one account is, is cut again along the
order itself: a piece is what lies between two rows of a sample. An external sort of the whole held more the larger it
was (of one account's 3 and 10 million rows 305 and 346 MiB, the latter in 66 CPU seconds; in pieces 239 and 255 MiB, in
51). Given up: copies of a request may lie in different pieces, so those at different times are looked for first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.features.signals import SIGNALS
from kdguard.scoring.spill import ALWAYS, LEAST_MEMORY_MB, SORT_MEMORY_MB, connect

_ROWS_A_MB = 3_000
"""Rows that are sorted without going to disk in each megabyte of memory."""
_FILL = 0.5
"""Share of these that a piece has on average: a sample does not cut evenly."""
_SAMPLE_A_PIECE = 64
_HASHES = 1 << 64
_CHUNK_ROWS = 65_536

_IN_ORDER = f"""
    SELECT {", ".join(SIGNALS.names)} FROM (
        SELECT *, row_number() OVER (
            PARTITION BY subject, request_id, choice ORDER BY time_us, text, prompt_bytes, output_tokens
        ) AS copy
        FROM {{source}} WHERE {{within}}
    ) WHERE copy = 1 AND time_us >= $begin AND time_us < $end
    ORDER BY subject, account_id, time_us, request_id, choice
"""
_EARLIEST = """
    span ANTI JOIN repeated ON span.subject = repeated.subject AND span.request_id = repeated.request_id
    AND span.choice = repeated.choice AND span.time_us > repeated.first_us
"""
_FROM = """
    subject > $X_subject OR subject = $X_subject AND (account_id > $X_account_id OR account_id = $X_account_id AND (
        time_us > $X_time_us OR time_us = $X_time_us AND request_id >= $X_request_id))
""".replace("X", "{name}")


@dataclass(frozen=True, slots=True)
class Slice:
    """The accounts whose hashes lie in one span.

    Attributes:
        first, last: The ends of the span, both in it.
        rows: Rows of these accounts.
    """

    first: int
    last: int
    rows: int


def slices(folder: Path, sort_memory_mb: int = SORT_MEMORY_MB, *, fewest: int = 1) -> list[Slice]:
    """Cut the accounts of a sealed spill into spans of hashes, each to be sorted on its own.

    Args:
        folder: Folder of a sealed spill.
        sort_memory_mb: Memory that a sort may use before it goes to disk.
        fewest: Spans to cut at least, before the empty ones are left out.

    Returns:
        Spans that hold any row, ascending; together they hold every row.
    """
    parts = list(folder.glob("part-*.parquet"))
    if not parts:
        return []
    rows = sum(pq.read_metadata(part).num_rows for part in parts)
    wanted = max(rows / (max(sort_memory_mb, LEAST_MEMORY_MB) * _ROWS_A_MB), fewest, 1)
    bits = math.ceil(math.log2(wanted))
    if not bits:
        return [Slice(0, _HASHES - 1, rows)]
    length = _HASHES >> bits
    with connect(folder, "slices", sort_memory_mb) as connection:
        found = connection.execute(
            f"SELECT subject // {length}, count(*) FROM read_parquet(?) GROUP BY ALL ORDER BY ALL",
            [f"{folder}/part-*.parquet"],
        ).fetchall()
    return [Slice(at * length, (at + 1) * length - 1, count) for at, count in found]


def read_in_order(
    folder: Path, span: Slice, sort_memory_mb: int = SORT_MEMORY_MB, window: tuple[int, int] = ALWAYS
) -> Iterator[pa.RecordBatch]:
    """Read the accounts of one slice in canonical order: subject, time, request id, choice.

    Of rows with one (account, request_id, choice) the earliest is kept.

    Args:
        folder: Folder of a sealed spill.
        span: Which accounts, as `slices` cut them.
        sort_memory_mb: Memory the sort may use before it goes to disk.
        window: Half-open interval of times to read, microseconds since 1970.
    """
    fitting = max(sort_memory_mb, LEAST_MEMORY_MB) * _ROWS_A_MB
    pieces = 1 if span.rows <= fitting else math.ceil(span.rows / (_FILL * fitting))
    with connect(folder, f"sort-{span.first:016x}", sort_memory_mb) as connection:
        signals = connection.read_parquet(f"{folder}/part-*.parquet")
        signals.filter(f"subject BETWEEN {span.first} AND {span.last}").create_view("span")
        for low, high in _pieces(connection, pieces, window):
            within, bounds = _between(low, high)
            query = _IN_ORDER.format(source="span" if pieces == 1 else _EARLIEST, within=within)
            relation = connection.sql(query, params=bounds | {"begin": window[0], "end": window[1]})
            for batch in relation.to_arrow_reader(_CHUNK_ROWS):
                yield batch.cast(SIGNALS)


def _pieces(
    connection: duckdb.DuckDBPyConnection, pieces: int, window: tuple[int, int]
) -> Iterator[tuple[_Place | None, _Place | None]]:
    """Cut a slice into about so many pieces of about one size: where each begins and where the next does."""
    if pieces == 1:
        return iter([(None, None)])
    # Copies that lie at one time lie in one piece, where the sort finds them.
    connection.execute(
        """
        CREATE TEMP TABLE repeated AS SELECT subject, request_id, choice, min(time_us) AS first_us FROM span
        GROUP BY ALL HAVING min(time_us) < max(time_us)
        """
    )
    places = connection.execute(
        f"""
        SELECT subject, account_id, time_us, request_id FROM (
            SELECT * FROM span WHERE time_us >= ? AND time_us < ?
        ) USING SAMPLE reservoir({pieces * _SAMPLE_A_PIECE} ROWS) REPEATABLE (0)
        """,
        window,
    ).fetchall()
    cuts = sorted({_Place(*place) for place in sorted(places)[_SAMPLE_A_PIECE::_SAMPLE_A_PIECE]})
    return pairwise([None, *cuts, None])


class _Place(NamedTuple):
    """A row's place in the canonical order, but for the choice."""

    subject: int
    account_id: str
    time_us: int
    request_id: str


def _between(low: _Place | None, high: _Place | None) -> tuple[str, dict[str, int | str]]:
    """SQL that is true of rows from one place on and before another, and its parameters."""
    terms, bounds = ["true"], dict[str, int | str]()
    for name, sign, place in (("low", "", low), ("high", "NOT", high)):
        if place is not None:
            terms.append(f"{sign} ({_FROM.format(name=name)})")
            bounds |= {f"{name}_{key}": value for key, value in place._asdict().items()}
    if low is not None and high is not None and low[:2] == high[:2]:
        # Implied, but the one term that the reading of the file can skip other columns by.
        terms.append("time_us BETWEEN $low_time_us AND $high_time_us")
    return " AND ".join(terms), bounds
