"""Where two tokenizers say the same thing: shared tokens, and positions that follow the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from kdguard.errors import InputError


class SharedTokens(NamedTuple):
    """Tokens that both vocabularies spell with the same bytes.

    Attributes:
        student_ids: m ids, rising.
        teacher_ids: m ids of the same tokens.
    """

    student_ids: tuple[int, ...]
    teacher_ids: tuple[int, ...]


class SharedPositions(NamedTuple):
    """Positions of both tokenisations of one text whose next token follows the same bytes.

    Attributes:
        student: Rising token indices, each the token to be predicted.
        teacher: As many, pairwise behind the same prefix.
    """

    student: tuple[int, ...]
    teacher: tuple[int, ...]


def shared_tokens(student_vocabulary: Sequence[bytes], teacher_vocabulary: Sequence[bytes]) -> SharedTokens:
    """Match two vocabularies by the bytes of their tokens.

    Args:
        student_vocabulary: Bytes of every student token, place = id. Give special tokens as b"" to leave them out, or
            under one agreed name in both to match them.
        teacher_vocabulary: Bytes of every teacher token.

    Returns:
        Pairs of ids; where a vocabulary spells a token twice, its first id counts.

    Raises:
        InputError: nothing is shared.
    """
    theirs: dict[bytes, int] = {}
    for place, token in enumerate(teacher_vocabulary):
        theirs.setdefault(token, place)
    seen: set[bytes] = {b""}
    pairs: list[tuple[int, int]] = []
    for place, token in enumerate(student_vocabulary):
        if token not in seen and token in theirs:
            pairs.append((place, theirs[token]))
        seen.add(token)
    if not pairs:
        raise InputError("The two vocabularies share no token: use uld(), or learn from text alone.")
    return SharedTokens(tuple(mine for mine, _ in pairs), tuple(other for _, other in pairs))


def shared_positions(student_tokens: Sequence[bytes], teacher_tokens: Sequence[bytes]) -> SharedPositions:
    """Match two tokenisations of the same bytes by their boundaries.

    Args:
        student_tokens: Bytes of each student token of the text.
        teacher_tokens: Bytes of each teacher token of the text.

    Returns:
        Index pairs of tokens that begin at one byte; the first pair is always (0, 0). The end of the text, where both
        would predict an end mark, is not listed.

    Raises:
        InputError: the texts differ.
    """
    if b"".join(student_tokens) != b"".join(teacher_tokens):
        raise InputError("Both tokenisations must spell the same bytes; keep API tokens as they came.")
    theirs = {start: place for place, start in _starts(teacher_tokens)}
    pairs = [(place, theirs[start]) for place, start in _starts(student_tokens) if start in theirs]
    return SharedPositions(tuple(mine for mine, _ in pairs), tuple(other for _, other in pairs))


def _starts(tokens: Sequence[bytes]) -> list[tuple[int, int]]:
    """Place and first byte of every token that spells something."""
    lengths = [len(token) for token in tokens]
    starts = accumulate(lengths, initial=0)
    return [
        (place, start) for place, (start, length) in enumerate(zip(starts, lengths, strict=False)) if length
    ]
