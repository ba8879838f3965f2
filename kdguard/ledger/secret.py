"""Bytes that must not leave by accident."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Secret:
    """Secret bytes. Neither `repr`, `str`, formatting, pickling nor a traceback shows them; `reveal` does.

    Attributes:
        _value: The bytes.
    """

    _value: bytes

    def reveal(self) -> bytes:
        """Return the bytes. Every call site is a place to look at in a review."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes, hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a leak

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret must not be pickled or copied; pass the key store to the other process")
