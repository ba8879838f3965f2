"""Texts as token ids, cut into tokens with the window before each; which of them may be scored.

A mark is keyed by (window, token): the second time the same pair comes up it says nothing new, and counting it again
is how detectors in use turn a nominal 1e-6 into one in ten on looping text. What stands in a prompt may have been
copied from marked text by somebody innocent, so its windows are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from kdguard.errors import WatermarkError

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint64]
Repeats = Literal["window", "pair"]

PAD: Final = -1
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)


class Texts(NamedTuple):
    """Texts of different lengths, one behind the other.

    Attributes:
        token_ids: All of them, shape (t,), int64.
        starts: Where each text begins, and t at the end, shape (m + 1,).
    """

    token_ids: Ints
    starts: Ints

    @classmethod
    def of(cls, texts: Sequence[Sequence[int] | Ints]) -> Self:
        """Join lists of token ids.

        Raises:
            WatermarkError: A token id is negative.
        """
        lengths = [len(text) for text in texts]
        parts = [np.asarray(text, np.int64) for text in texts if len(text)]
        joined = np.concatenate(parts) if parts else np.empty(0, np.int64)
        if len(joined) and joined.min() < 0:
            raise WatermarkError(f"token ids must be at least 0, got {joined.min()}: leave padding out")
        return cls(joined, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))


@dataclass(frozen=True, slots=True)
class Windows:
    """n tokens, each with the w tokens before it and the subject it is of.

    Attributes:
        before: Windows, oldest token first, shape (n, w), int64; -1 before the beginning of a text.
        tokens: Shape (n,), int64.
        subjects: Number of the subject of each, shape (n,), int64.
    """

    before: Ints
    tokens: Ints
    subjects: Ints

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, places: Ints | npt.NDArray[np.bool_] | slice) -> Windows:
        """Some of them."""
        return Windows(self.before[places], self.tokens[places], self.subjects[places])


class Selected(NamedTuple):
    """What may be scored, and what was left out by subject, shape (subjects,) each."""

    windows: Windows
    tokens: Ints
    repeated: Ints
    copied: Ints


def windows_of(texts: Texts, width: int, *, padded: bool, subjects: Ints | None = None) -> Windows:
    """Every token of every text with the window before it.

    Args:
        texts: m texts.
        width: Tokens in a window, w.
        padded: Also tokens with fewer than w before them; -1 stands for those that are missing.
        subjects: Subject of each text, shape (m,); all of one subject if None.
    """
    lengths = np.diff(texts.starts)
    of_text = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(texts.token_ids)) - texts.starts[of_text]
    shifted = np.concatenate((np.full(width, PAD, np.int64), texts.token_ids))
    before = np.empty((len(place), width), np.int64, order="F")
    for at in range(width):
        before[:, at] = np.where(place < width - at, PAD, shifted[at : at + len(place)])
    owner = np.zeros(len(lengths), np.int64) if subjects is None else subjects
    whole = Windows(before, texts.token_ids, owner[of_text])
    return whole if padded else whole.take(place >= width)


def codes_of(*columns: Ints) -> Codes:
    """One 64-bit code for each row of the columns, equal for equal rows.

    Two of n unequal rows share a code with probability n^2 / 2^65; then one token is left out, whatever the key.
    """
    code = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        code = (code + _STEP) ^ column.view(np.uint64)
        code = (code ^ (code >> np.uint64(30))) * _MIX_1
        code = (code ^ (code >> np.uint64(27))) * _MIX_2
        code ^= code >> np.uint64(31)
    return code


def identities(windows: Windows, sources: Sequence[Ints], repeats: Repeats) -> Codes:
    """What of every token counts as seen before when it comes again, shape (n,)."""
    return codes_of(*sources, *((windows.tokens,) if repeats == "pair" else ()))


def select(windows: Windows, identity: Codes, *, subjects: int, copied: Codes | None = None) -> Selected:
    """Keep the first of everything that repeats within a subject, and nothing that a prompt holds.

    Leaving out what prompts hold errs on the safe side: what the prompts' author chose not to write after a window
    is, if anything, less like the mark.

    Args:
        windows: All tokens.
        identity: From `identities`, shape (n,).
        subjects: Number of subjects.
        copied: Identities that prompts hold.
    """
    _, firsts = np.unique(
        codes_of(windows.subjects, identity.view(np.int64)) if subjects > 1 else identity, return_index=True
    )
    first = np.zeros(len(windows), np.bool_)
    first[firsts] = True
    fresh = np.ones(len(windows), np.bool_) if copied is None else ~np.isin(identity, copied)

    def counted(rows: npt.NDArray[np.bool_]) -> Ints:
        return np.bincount(windows.subjects[rows], minlength=subjects)

    return Selected(
        windows.take(first & fresh),
        counted(np.ones(len(windows), np.bool_)),
        counted(~first & fresh),
        counted(~fresh),
    )
