"""One way to write a value as bytes, so that digests and signatures mean the same everywhere."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785

from kdguard.errors import LedgerError

LARGEST_BYTES = 64 * 2**20
"""Longest document that is parsed, so that a hostile file costs bounded memory."""


def canonical(value: Any) -> bytes:
    """Write JSON in the canonical form of RFC 8785: sorted keys, no spaces, shortest numbers.

    Raises:
        LedgerError: The value holds NaN, an integer beyond 2**53, or something that JSON cannot say.
    """
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"a committed value must be plain JSON: {error}") from error


def parse(document: bytes) -> Any:
    """Read JSON that must stand in canonical form, byte for byte.

    Raises:
        LedgerError: It is not JSON, too long, or written in any other way than `canonical` writes it.
    """
    value = parse_any(document)
    if canonical(value) != document:
        raise LedgerError("must be canonical JSON (RFC 8785); it was written or changed by another program")
    return value


def parse_any(document: bytes) -> Any:
    """Read JSON in any spelling.

    Raises:
        LedgerError: It is not JSON, or too long.
    """
    if len(document) > LARGEST_BYTES:
        raise LedgerError(f"must be at most {LARGEST_BYTES:,} bytes, got {len(document):,}")
    try:
        return json.loads(document, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"must be JSON: {error}") from error


def _number(digits: str) -> int | float:
    """A double beyond 2**53 is written as an integer; read it as the double it was."""
    return int(digits) if len(digits) < 16 else float(digits)


def sha256(*parts: bytes) -> str:
    """Hash the concatenation of parts of known length; 64 hex digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()
