"""What could not be read: counted by rule, the first few named, all of them written to a file if asked.

The content of a rejected line never enters a message or the file unless ``content=True``: logs hold prompts.
A message says what must hold and what was given; what was given is shown only for short cells that are not
text (a time, a count), and as a type name otherwise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from kdguard.errors import RecordError
from kdguard.readers.listing import Listing

DEEP = "JSON must be nested at most 250 deep"


class Unfit(RecordError):  # noqa: N818  (a verdict on a record, not a failure of the program)
    """A record breaks a rule.

    Attributes:
        rule: What must hold; the same words for every record, so that rejects can be counted by it.
        given: What was given instead, shortened; empty if there is nothing to show.
    """

    def __init__(self, rule: str, given: str = "") -> None:
        super().__init__(f"{rule}, got {given}" if given else rule)
        self.rule = rule
        self.given = given


@dataclass(slots=True)
class FileCount:
    """What one file gave.

    Attributes:
        format: Format it was read in.
        exchanges: Exchanges; of those joined from several files, the first counts them.
        rejected: Lines that could not be read.
    """

    format: str = ""
    exchanges: int = 0
    rejected: int = 0


class Rejects:
    """Counts rejected lines and remembers the first few.

    Args:
        path: File that receives one JSON object a reject: file, line, reason, bytes. Created at once; its entries
            follow the files and their lines.
        keep: How many messages of each rule to keep in memory.
        content: Also write the line itself, where it is at hand (prompts included).

    Attributes:
        counts: Rejected lines by rule.
        examples: The first messages of each rule, as ``file:line: reason``.
        skipped: Records that were read and hold no exchange (other span kinds, other log categories).
        files: What each file gave, good and bad, in the order they were read.
    """

    def __init__(self, path: str | Path | None = None, *, keep: int = 3, content: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.skipped = 0
        self.files: dict[str, FileCount] = {}
        self._place: dict[str, int] = {}
        self._keep = keep
        self._content = content
        self._listing = Listing(path) if path is not None else None

    @property
    def total(self) -> int:
        """Number of rejected lines."""
        return self.counts.total()

    def add(self, file: str, line: int, reason: Unfit, *, size_bytes: int = 0, raw: bytes = b"") -> None:
        """Count one rejected line.

        Args:
            file: Path as given by the user.
            line: Line number from 1; for Parquet, the row number from 1.
            reason: The broken rule.
            size_bytes: Length of the line.
            raw: The line itself; used only with ``content=True``.
        """
        self.counts[reason.rule] += 1
        self.of(file).rejected += 1
        kept = self.examples.setdefault(reason.rule, [])
        if len(kept) < self._keep:
            kept.append(f"{file}:{line}: {reason}")
        if self._listing is not None:
            entry = {"file": file, "line": line, "reason": str(reason), "bytes": size_bytes}
            if self._content and raw:
                entry["content"] = raw[:65536].decode("utf-8", "replace")
            self._listing.add((self._place[file], line), orjson.dumps(entry))

    def of(self, file: str) -> FileCount:
        """The count of one file."""
        self._place.setdefault(file, len(self.files))
        return self.files.setdefault(file, FileCount())

    def messages(self, limit: int = 10) -> list[str]:
        """The first few messages, the most frequent rule first."""
        return [text for rule, _ in self.counts.most_common() for text in self.examples[rule]][:limit]

    def flush(self) -> None:
        """At the end of a reading: push what was written to the file out to the disk."""
        if self._listing is not None:
            self._listing.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._listing is not None:
            self._listing.close()
            self._listing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
