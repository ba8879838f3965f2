"""Filters that look at one exchange at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from kdguard.distill.filters.pipeline import Mask
from kdguard.errors import TranscriptError

pc: Any = pyarrow.compute  # its type stubs refuse much that it takes
CUT = pa.array(["length", "max_tokens", "MAX_TOKENS", "model_length", "incomplete", "max_output_tokens"])
"""Why generation stopped, where that was the limit on its length, over all vendors."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Keeps what has a text, tool calls or a label, and no error status."""

    reason: str = "no_answer"

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`."""
        told = [pc.greater(pc.fill_null(pc.utf8_length(exchanges.column(name)), 0), 0) for name in _ANSWERS]
        status = pc.fill_null(exchanges.column("status"), 200)
        fine = pc.and_(pc.greater_equal(status, 200), pc.less(status, 300))
        return _mask(pc.and_(pc.or_(pc.or_(*told[:2]), told[2]), fine))


@dataclass(frozen=True, slots=True)
class NotRefused:
    """Keeps what is not known to be refused by the model or a filter."""

    reason: str = "refused"

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`."""
        return ~_mask(exchanges.column("refused"))


@dataclass(frozen=True, slots=True)
class NotCut:
    """Keeps answers that came to their own end."""

    reason: str = "cut"

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`."""
        by_limit = pc.is_in(exchanges.column("finish_reason"), CUT)
        return ~_mask(pc.or_(by_limit, pc.fill_null(exchanges.column("truncated"), False)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Keeps texts of a length between two bounds; a missing text has length 0.

    Attributes:
        least_chars, most_chars: Bounds in characters, inclusive; None = no upper bound.
        most_tokens: Upper bound on `output_tokens`; rows that do not tell them pass.
        column: Which text.
    """

    least_chars: int = 1
    most_chars: int | None = None
    most_tokens: int | None = None
    column: str = "response"
    reason: str = "length"

    def __post_init__(self) -> None:
        if self.most_chars is not None and self.most_chars < self.least_chars:
            raise TranscriptError(f"most_chars must be at least {self.least_chars}, got {self.most_chars}")

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`."""
        chars = pc.fill_null(pc.utf8_length(exchanges.column(self.column)), 0).to_numpy()
        good: Mask = chars >= self.least_chars
        if self.most_chars is not None:
            good &= chars <= self.most_chars
        if self.most_tokens is not None:
            good &= pc.fill_null(exchanges.column("output_tokens"), 0).to_numpy() <= self.most_tokens
        return good


@dataclass(frozen=True, slots=True)
class Verified:
    """Keeps what a verifier accepts: rejection sampling against known truth, a parser, a test or a judge.

    Attributes:
        verify: Gets one exchange as a dictionary of its columns. Its own errors stop the filtering.
    """

    verify: Callable[[Mapping[str, Any]], bool]
    reason: str = "rejected"

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`."""
        rows = (row for batch in exchanges.to_batches(max_chunksize=1024) for row in batch.to_pylist())
        return np.fromiter((bool(self.verify(row)) for row in rows), np.bool_, exchanges.num_rows)


_ANSWERS = ("response", "tool_calls", "label")


def _mask(column: Any) -> Mask:
    """A boolean column as an array; null counts as false."""
    return np.asarray(pc.fill_null(column, False).to_numpy(), np.bool_)
