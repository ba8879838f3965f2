"""Bytes to exchanges: every log format that people really have, read as a stream.

``read`` turns files, globs, directories and stdin into Arrow record batches of exactly the columns of
`kdguard.exchanges.schema.EXCHANGES`, in constant memory. A record that cannot be read is counted and named
in a `Rejects`; it never stops the rest. ``sniff`` names the format of one file, ``FORMATS`` holds them all.
"""

from __future__ import annotations

from kdguard.readers.reader import Reader
from kdguard.readers.registry import FORMATS
from kdguard.readers.rejects import Rejects
from kdguard.readers.stream import read, sniff

__all__ = ["FORMATS", "Reader", "Rejects", "read", "sniff"]
