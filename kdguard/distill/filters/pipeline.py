"""Filters one after the other, each on what the last one left, with a reason for every row that goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from kdguard.distill.transcripts.reader import Tokens, Transcripts

pc: Any = pyarrow.compute  # its type stubs refuse much that it takes
Mask = npt.NDArray[np.bool_]


class Filter(Protocol):
    """One reason to leave exchanges out.

    Whether a row is kept must not depend on where it stands in the table; where one of several equal rows stays, it is
    the first in `canonical_order`.
    """

    @property
    def reason(self) -> str:
        """Name of the reason, as it is counted."""

    def keep(self, exchanges: pa.Table) -> Mask:
        """Which rows stay, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What a row of filters left.

    Attributes:
        kept: The rows that stay, in the order they came.
        dropped: Rows that went, by reason, in the order of the filters.
        reasons: `request_id, choice, reason` of each row that went.
    """

    kept: pa.Table
    dropped: Mapping[str, int]
    reasons: pa.Table


def filter_exchanges(exchanges: pa.Table, filters: Sequence[Filter]) -> Filtered:
    """Apply filters in the given order.

    Args:
        exchanges: Rows of the exchange schema.
        filters: Cheap ones first: those that call a judge see only what the others left.

    Returns:
        What is left; the same rows whatever their order in the table was.
    """
    dropped: dict[str, int] = {}
    gone: list[pa.Table] = []
    for each in filters:
        mask = each.keep(exchanges)
        out = exchanges.filter(pa.array(~mask)).select(["request_id", "choice"])
        dropped[each.reason] = dropped.get(each.reason, 0) + out.num_rows
        gone.append(out.append_column("reason", pa.array([each.reason] * out.num_rows, pa.string())))
        exchanges = exchanges.filter(pa.array(mask))
    nothing = (
        exchanges.slice(0, 0)
        .select(["request_id", "choice"])
        .append_column("reason", pa.array([], pa.string()))
    )
    return Filtered(exchanges, dropped, pa.concat_tables([nothing, *gone]))


class FilteredTranscripts(NamedTuple):
    """Transcripts without what was dropped, and what that was."""

    transcripts: Transcripts
    outcome: Filtered


def filter_transcripts(transcripts: Transcripts, filters: Sequence[Filter]) -> FilteredTranscripts:
    """Apply filters to the exchanges, and leave out the tokens of those that go."""
    outcome = filter_exchanges(transcripts.exchanges, filters)
    keys = ["request_id", "choice"]
    packed = transcripts.tokens.packed
    places = packed.select(keys).append_column("row", pa.array(np.arange(packed.num_rows)))
    left = places.join(outcome.kept.select(keys), keys, join_type="left semi").sort_by("row")
    tokens = Tokens(packed.take(left.column("row").combine_chunks()))
    return FilteredTranscripts(replace(transcripts, exchanges=outcome.kept, tokens=tokens), outcome)


def canonical_order(exchanges: pa.Table) -> npt.NDArray[np.int64]:
    """Row numbers in the order (time, request_id, choice); rows without a time first."""
    names = ["time", "request_id", "choice", "response"]
    keys = [(name, "ascending", "at_start") for name in names]
    order: npt.NDArray[np.int64] = pc.sort_indices(exchanges.select(names), sort_keys=keys).to_numpy()
    return order.astype(np.int64)
