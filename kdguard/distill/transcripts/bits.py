"""Arrays of numbers to few bytes and back: bit planes for integers, half precision for log-probabilities.

Planes rather than fields of bits one after the other: the size is the same, ceil(log2 V) bits an id, but the high
planes of ids are mostly zeros (frequent tokens have low ids), which a general compressor then takes away. Likewise
log-probabilities fall along the alternatives of a position, so the differences of their bit patterns are small.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
_LEAST = float(np.finfo(np.float16).smallest_subnormal)
_LOWEST = float(np.finfo(np.float16).min)


def pack_integers(values: npt.NDArray[Any]) -> tuple[bytes, int]:
    """Pack non-negative integers below 2^31 into bit planes.

    Args:
        values: Shape (n,).

    Returns:
        The planes, lowest bit first, each ceil(n / 8) bytes; and their number, the bits of the largest value.
    """
    bits = int(values.max(initial=0)).bit_length()
    octets = values.astype("<u4").view(np.uint8).reshape(len(values), 4)
    planes = np.unpackbits(octets, axis=1, count=bits, bitorder="little").T
    return np.packbits(planes, axis=1, bitorder="little").tobytes(), bits


def unpack_integers(packed: bytes, bits: int, n: int) -> Int32:
    """Undo `pack_integers`.

    Raises:
        ValueError: The bytes are not those of n integers of so many bits.
    """
    planes = np.frombuffer(packed, np.uint8).reshape(bits, -(-n // 8))
    spread = np.unpackbits(planes, axis=1, count=n, bitorder="little").T
    octets = np.zeros((n, 32), np.uint8)
    octets[:, :bits] = spread
    return np.packbits(octets, axis=1, bitorder="little").view("<u4").reshape(n).astype(np.int32)


def pack_halves(values: Float32, widths: Int32 | None = None) -> bytes:
    """Pack reals as float16, low bytes before high bytes.

    Relative error at most 2^-11 above 6e-5 in size. Finite values beyond the range of float16 become its largest;
    what is not zero does not become zero.

    Args:
        values: Shape (n,), float32.
        widths: Lengths of consecutive runs, summing to n, along which only differences of the bit patterns are
            kept; without it all patterns are.

    Returns:
        2 n bytes.
    """
    clipped = np.where(np.isfinite(values), np.clip(values, _LOWEST, -_LOWEST), values)
    lifted = np.where((values != 0) & (np.abs(values) < _LEAST), np.copysign(_LEAST, values), clipped)
    patterns = lifted.astype("<f2").view("<u2")
    if widths is not None:
        first = _firsts(widths)
        previous = np.concatenate(([np.uint16(0)], patterns[:-1])) if len(patterns) else patterns
        patterns = np.where(first, patterns, patterns - previous)
    return patterns.astype("<u2").view(np.uint8).reshape(-1, 2).T.tobytes()


def unpack_halves(packed: bytes, widths: Int32 | None = None) -> Float32:
    """Undo `pack_halves`, given the same widths.

    Raises:
        ValueError: The bytes do not come in pairs.
    """
    patterns = np.frombuffer(packed, np.uint8).reshape(2, -1).T.copy().view("<u2").reshape(-1)
    if widths is not None and len(patterns):
        total = np.cumsum(patterns, dtype=np.uint16)
        before = (total - patterns)[_firsts(widths)]
        patterns = total - np.repeat(before, widths[widths > 0])
    return patterns.astype("<u2").view("<f2").astype(np.float32)


def _firsts(widths: Int32) -> npt.NDArray[np.bool_]:
    """Where the runs begin, as a mask of shape (n,)."""
    first = np.zeros(int(widths.sum()), np.bool_)
    first[(np.cumsum(widths) - widths)[widths > 0]] = True
    return first
