"""Texts of exhibits with what may name a person or a secret blotted out."""

from __future__ import annotations

import re

BLOT = "\u2588\u2588\u2588\u2588"
_NAMING = re.compile(
    r"""
    [\w.+-]+@[\w-]+(?:\.[\w-]+)+            # mail addresses
    | \b(?:https?|ftp)://\S+                # addresses of pages
    | \b\d{1,3}(?:\.\d{1,3}){3}\b           # addresses of machines
    | (?<!\w)\+?\d[\d\s().-]{6,}\d(?!\w)    # telephone, card and account numbers
    | \b\d{4,}\b                            # other long numbers
    | \b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{16,}\b  # keys and tokens
    """,
    re.VERBOSE,
)


def redacted(text: str) -> str:
    """Blot out mail addresses, links, long numbers and what looks like a key; names of persons stay.

    >>> redacted("write to ann@example.org or +49 170 1234567")
    'write to ████ or ████'
    """
    return _NAMING.sub(BLOT, text)
