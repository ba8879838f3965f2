"""The bytes that each token of a tokenizer stands for.

Tokens of an API are bytes, not text: one character may be cut over several tokens. Byte-level vocabularies
(Radford et al. 2019) write each byte as a printable character; SentencePiece vocabularies (Kudo & Richardson
2018) write a space as a low bar, and bytes as `<0xNN>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_LOW_BAR = "▁"


def token_bytes(tokenizer: Any) -> tuple[bytes, ...]:
    """Bytes of every token id, from 0.

    Args:
        tokenizer: A tokenizer of transformers.

    Returns:
        One entry an id, as many as the tokenizer knows. Special tokens have the bytes of their names.
    """
    count = len(tokenizer)
    names = tokenizer.convert_ids_to_tokens(list(range(count)))
    added = {at: str(token.content) for at, token in getattr(tokenizer, "added_tokens_decoder", {}).items()}
    byte_level = _is_byte_level(tokenizer)
    return tuple(
        added[at].encode() if at in added else _bytes(name, byte_level=byte_level)
        for at, name in enumerate(names)
    )


def _bytes(name: str | None, *, byte_level: bool) -> bytes:
    if name is None:
        return b""
    if byte_level and all(letter in printable_bytes() for letter in name):
        return bytes(printable_bytes()[letter] for letter in name)
    if one := _BYTE.fullmatch(name):
        return bytes([int(one[1], 16)])
    return name.replace(_LOW_BAR, " ").encode()


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    told = json.loads(backend.to_str())
    parts = [told.get("decoder") or {}, told.get("pre_tokenizer") or {}]
    inside = [piece for part in parts for piece in part.get("decoders", part.get("pretokenizers", [part]))]
    return any(piece.get("type") == "ByteLevel" for piece in inside)


@cache
def printable_bytes() -> Mapping[str, int]:
    """The character that stands for each byte in a byte-level vocabulary, and back: character to byte.

    Printable bytes of Latin-1 stand for themselves; the other 68 are numbered from U+0100.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + at): byte for at, byte in enumerate(rest)}
