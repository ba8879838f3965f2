"""The requests of an account that look most like extraction, looked up once and kept up as parts come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from kdguard.features.signals import SIGNALS
from kdguard.scoring.spill import Signals
from kdguard.service.live import parts

_TOLD = pa.schema([SIGNALS.field(name) for name in ("subject", "request_id", "technique", "margin")])


class Strongest(Signals):
    """A tenant's signals, which remember the exhibits that were asked for.

    Without it each look would read the whole log for the few accounts that need attention. Of an account that was
    asked for before, only parts that came since are read; what is best of both is best of all.

    Args:
        folder: Folder of the parts; when signals go from it, `forget` must be called.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forget()

    def forget(self) -> None:
        """Look everything up anew."""
        self._found, self._known, self._reach = _TOLD.empty_table(), set[int](), 0

    def exhibits(self, subjects: list[int], per_subject: int) -> pa.Table:
        """See `Signals.exhibits`."""
        newer = [part for part in parts.parts_of(self.folder) if part.last > self._reach]
        strange = sorted(set(subjects) - self._known)
        found = [self._found, *(self._of_known(part) for part in newer if self._known)]
        if strange:
            found.append(super().exhibits(strange, per_subject).cast(_TOLD))
        self._found = _best(pa.concat_tables(found), per_subject)
        self._known |= set(strange)
        self._reach = newer[-1].last if newer else self._reach
        wanted = np.isin(self._found["subject"].to_numpy(), np.array(subjects, np.uint64))
        return self._found.filter(pa.array(wanted))

    def _of_known(self, part: parts.Part) -> pa.Table:
        rows = parts.read_part(self.folder, part, _TOLD.names)
        known = np.array(sorted(self._known), np.uint64)
        wanted = np.isin(rows["subject"].to_numpy(), known)
        return rows.filter(pa.array(wanted)).cast(_TOLD)


def _best(rows: pa.Table, per_subject: int) -> pa.Table:
    """The strongest requests of each subject, a request once."""
    ordered = rows.sort_by([("subject", "ascending"), ("request_id", "ascending"), ("margin", "descending")])
    ordered = ordered.filter(pa.array(_first(ordered, ["subject", "request_id"])))
    ordered = ordered.sort_by(
        [("subject", "ascending"), ("margin", "descending"), ("request_id", "ascending")]
    )
    subject = ordered["subject"].to_numpy()
    return ordered.filter(pa.array(np.arange(len(subject)) - np.searchsorted(subject, subject) < per_subject))


def _first(ordered: pa.Table, names: list[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows differ from the one before in some columns."""
    first = np.ones(ordered.num_rows, np.bool_)
    columns = [ordered[name].to_numpy() for name in names]
    first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return first
