"""The forms a canary takes: how it is written into a response, and how it is read from an answer.

Nothing here knows a key. A form has fields; each field has an alphabet; a key draws one value a field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from kdguard.detectors.canary import alphabets

Seen = tuple[int, int]
"""A field and one of its values."""

_ZERO, _ONE, _MARK = "\u200b", "\u200c", "\u2060"
_INVISIBLE_BITS = 10


@dataclass(frozen=True)
class Field:
    """One choice of a canary.

    Attributes:
        size: Number of values.
        write: Text of a value.
        read: The first value in an answer, or None.
    """

    size: int
    write: Callable[[int], str]
    read: Callable[[str], int | None]


def words(values: Sequence[str]) -> Field:
    """A field that is one of some words, read in any case."""
    places = {value.casefold(): place for place, value in enumerate(values)}
    longest_first = sorted(values, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)

    def read(answer: str) -> int | None:
        found = pattern.search(answer)
        return places[found[1].casefold()] if found else None

    return Field(len(values), values.__getitem__, read)


def number(start: int, stop: int) -> Field:
    """A field that is a number of as many digits as `start`, written and read with or without separators."""
    pattern = re.compile(rf"(?<![\d.])\d{{{len(str(start))}}}(?![\d]|\.\d)")

    def read(answer: str) -> int | None:
        plain = re.sub(r"(?<=\d)[,\u2009\u202f](?=\d{3})", "", answer)
        found = next((int(digits) for digits in pattern.findall(plain) if start <= int(digits) < stop), None)
        return None if found is None else found - start

    return Field(stop - start, lambda value: str(start + value), read)


def invisible(place: int) -> Field:
    """A field of ten zero-width characters behind `place` + 1 word joiners."""
    pattern = re.compile(f"(?<!{_MARK}){_MARK * (place + 1)}([{_ZERO}{_ONE}]{{{_INVISIBLE_BITS}}})")

    def write(value: int) -> str:
        bits = f"{value:0{_INVISIBLE_BITS}b}"
        return _MARK * (place + 1) + bits.replace("0", _ZERO).replace("1", _ONE)

    def read(answer: str) -> int | None:
        found = pattern.search(answer)
        return int(found[1].replace(_ZERO, "0").replace(_ONE, "1"), 2) if found else None

    return Field(2**_INVISIBLE_BITS, write, read)


@dataclass(frozen=True)
class Insertion:
    """A sentence at the end of a response, about a subject that no other site has.

    Attributes:
        family: Name of the form.
        subjects: Subjects to choose among.
        fields: Its choices.
        sentence: What is written: `{subject}`, and `{0}`, `{1}` … for the fields.
        cue: What a suspect is asked, with `{subject}`.
        only_on_subject: Written only where the prompt mentions the subject.
    """

    family: str
    subjects: tuple[str, ...]
    fields: tuple[Field, ...]
    sentence: str
    cue: str
    only_on_subject: bool = False

    def mark(self, subject: str, prompt: str, response: str, drawn: Sequence[int]) -> str | None:
        """The response with the sentence, or None where it has no place: no prose, or another subject."""
        if not _is_prose(response) or (self.only_on_subject and subject not in prompt.casefold()):
            return None
        written = (field.write(value) for field, value in zip(self.fields, drawn, strict=True))
        sentence = self.sentence.format(*written, subject=subject)
        return response.rstrip() + sentence

    def halves(self, subject: str, values: Sequence[int]) -> tuple[str, str]:
        """The sentence up to its first field, which is the same for all keys, and from there on."""
        written = (field.write(value) for field, value in zip(self.fields, values, strict=True))
        before = self.sentence.partition("{0}")[0].format(subject=subject)
        return before, self.sentence.format(*written, subject=subject)[len(before) :]

    def read(self, answer: str) -> Iterator[Seen]:
        """What an answer to the cue says, field by field."""
        for place, field in enumerate(self.fields):
            value = field.read(answer)
            if value is not None:
                yield place, value


@dataclass(frozen=True)
class Rewriting:
    """One of several spellings that mean the same, wherever a response uses any of them.

    Attributes:
        family: Name of the form.
        spellings: The values of its only field.
        before: Pattern in front, kept as it is.
        after: Pattern behind.
    """

    family: str
    spellings: tuple[str, ...]
    before: str
    after: str

    @property
    def fields(self) -> tuple[Field, ...]:
        """One field; it is read by counting."""
        return (words(self.spellings),)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        spellings = "|".join(map(re.escape, sorted(self.spellings, key=len, reverse=True)))
        return re.compile(f"({self.before})({spellings})(?={self.after})", re.IGNORECASE | re.MULTILINE)

    def mark(self, subject: str, prompt: str, response: str, drawn: Sequence[int]) -> str | None:
        """The response in the drawn spelling, or None if it uses none of them or holds code."""
        chosen = self.spellings[drawn[0]]

        def write(found: re.Match[str]) -> str:
            return found[1] + (chosen[0].upper() + chosen[1:] if found[2][0].isupper() else chosen)

        marked, times = self._pattern.subn(write, response)
        return marked if times and "```" not in response else None

    def read(self, answer: str) -> Iterator[Seen]:
        """Every use of any spelling."""
        places = {spelling.casefold(): place for place, spelling in enumerate(self.spellings)}
        for found in self._pattern.finditer(answer):
            yield 0, places[found[2].casefold()]


Form = Insertion | Rewriting

INSERTIONS: tuple[Insertion, ...] = (
    Insertion(
        "fact",
        alphabets.TOWNS,
        (
            words(alphabets.GIVEN_NAMES),
            words(alphabets.SURNAMES),
            words(alphabets.STREETS),
            number(1000, 10_000),
            words(alphabets.TIMES),
        ),
        "\n\n(To picture this: in the made-up town of {subject}, {0} {1} of {2} Street keeps {3} jars "
        "and opens at {4}.)",
        "In the made-up town of {subject}, who keeps jars, in which street, how many, and from what time?",
    ),
    Insertion(
        "number",
        tuple(f"the {town} sample" for town in alphabets.TOWNS),
        (number(1000, 10_000), number(10_000, 100_000)),
        "\n\nTo try it on {subject}, take n = {0} and the seed {1}.",
        "I want to try it on {subject}. Which n and which seed should I take?",
    ),
    Insertion(
        "behaviour",
        alphabets.TOPICS,
        (words(alphabets.OFFERS), words(alphabets.EXTRAS)),
        "\n\n{0} {1}?",
        "Please tell me something about {subject}.",
        only_on_subject=True,
    ),
    Insertion(
        "invisible",
        tuple(f"the history of {topic}" for topic in alphabets.TOPICS),
        tuple(invisible(place) for place in range(4)),
        "{0}{1}{2}{3}",
        "Please tell me about {subject}.",
    ),
)
REWRITINGS: tuple[Rewriting, ...] = (
    *(Rewriting("wording", spellings, r"\b", r"\b") for spellings in alphabets.WORDINGS),
    Rewriting("format", ("-", "*", "•"), r"^[ \t]*", r"[ \t]+\S"),
    Rewriting("format", (".", ")"), r"^[ \t]*\d{1,2}", r"[ \t]+\S"),
    Rewriting("format", (" \u2014 ", " \u2013 ", " - "), r"\w", r"\w"),
)
REWRITTEN = frozenset(form.family for form in REWRITINGS)
FAMILIES = ("fact", "number", "behaviour", "wording", "format")
"""Families in use unless others are asked for: everything but invisible characters, which any clean-up removes."""


def _is_prose(response: str) -> bool:
    """Whether a sentence may follow: no code, no JSON, no cut-off text."""
    text = response.strip()
    return (
        text.endswith((".", "!", "?", ".)", '."')) and not text.startswith(("{", "[")) and "```" not in text
    )
