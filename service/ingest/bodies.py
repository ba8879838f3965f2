"""Bodies of requests, unpacked within a limit on what comes out: a bomb costs no more than a large honest body."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable

import zstandard

from kdguard.readers.rejects import Unfit

_CHUNK_BYTES = 1 << 16
ENCODINGS = ("identity", "gzip", "zstd")


class TooLarge(Unfit):
    """A body has more bytes than it may, packed or unpacked."""


async def body_of(parts: AsyncIterator[bytes], encoding: str, most_bytes: int) -> bytes:
    """Gather a body and unpack it.

    Args:
        parts: The body as it arrives.
        encoding: `identity`, `gzip` or `zstd`.
        most_bytes: Most bytes, packed and unpacked alike.

    Raises:
        TooLarge: It has more.
        Unfit: It is damaged, or the encoding is another.
    """
    if encoding not in ENCODINGS:
        raise Unfit(f"Content-Encoding must be one of {', '.join(ENCODINGS)}", repr(encoding)[:40])
    unpack, ended = _unpacker(encoding, most_bytes)
    out, size = [], 0
    async for part in parts:
        for start in range(0, len(part), _CHUNK_BYTES):
            piece = unpack(part[start : start + _CHUNK_BYTES], most_bytes + 1 - size)
            size += len(piece)
            if size > most_bytes:
                raise TooLarge(f"a body must have at most {most_bytes} bytes, unpacked")
            out.append(piece)
    if not ended():
        raise Unfit(f"a {encoding} body must be whole", "one that ends early")
    return b"".join(out)


def _unpacker(encoding: str, most_bytes: int) -> tuple[Callable[[bytes, int], bytes], Callable[[], bool]]:
    """How to unpack a piece into at most so many bytes, and whether the stream has ended."""
    if encoding == "gzip":
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)

        def inflate(piece: bytes, room: int) -> bytes:
            try:
                told = inflater.decompress(piece, room)
            except zlib.error as error:
                raise Unfit("a gzip body must be sound", str(error)[:60]) from error
            if inflater.unconsumed_tail:
                raise TooLarge(f"a body must have at most {most_bytes} bytes, unpacked")
            return told

        return inflate, lambda: inflater.eof
    if encoding == "zstd":
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(write_size=_CHUNK_BYTES)

        def unpack(piece: bytes, room: int) -> bytes:
            # a small piece at a time: one zstd block is at most 128 KiB, so a step cannot run far past the room
            told = bytearray()
            for start in range(0, len(piece), 64):
                try:
                    told += reader.decompress(piece[start : start + 64])
                except zstandard.ZstdError as error:
                    raise Unfit("a zstd body must be sound", str(error)[:60]) from error
                if len(told) > room:
                    raise TooLarge(f"a body must have at most {most_bytes} bytes, unpacked")
            return bytes(told)

        return unpack, lambda: reader.eof
    return (lambda piece, room: piece), lambda: True
