"""Small context-free grammars that write many distinct texts quickly.

A grammar file is TOML: one table a language, one array of alternatives a symbol. Inside an alternative
`{name}` stands for another symbol, `{#2-99}` for a whole number in that range, and capital names such as
`{PAYLOAD}` are left as they are, to be filled by the caller.
"""

from __future__ import annotations

import functools
import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import repeat
from typing import Literal

import numpy as np

from kdguard.errors import WorldError

Half = Literal["fit", "test", "both"]
Part = str | tuple[str] | tuple[int, int]
_SLOT = re.compile(r"\{([a-z][a-z0-9_]*|#\d+-\d+)\}")


@dataclass(frozen=True)
class Grammar:
    """Symbols and their alternatives.

    Attributes:
        rules: Alternatives of each symbol, as written.
    """

    rules: Mapping[str, tuple[str, ...]]

    def expand(self, symbol: str, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` texts from a symbol; alternatives are equally likely.

        Cost: one vectorised pass a symbol and alternative, about 0.3 µs a slot and text for large `n`.
        """
        if symbol not in self.rules:
            known = ", ".join(sorted(self.rules))
            raise WorldError(f"the grammar has no symbol '{symbol}'; it has: {known}")
        options = self.rules[symbol]
        if n == 1:
            return [
                "".join(self._column(p, 1, rng)[0] for p in _parts(options[int(rng.integers(len(options)))]))
            ]
        chosen = rng.integers(len(options), size=n)
        order = np.argsort(chosen, kind="stable")
        counts = np.bincount(chosen, minlength=len(options))
        written: list[str] = []
        for option, count in zip(options, counts.tolist(), strict=True):
            if count:
                columns = [self._column(part, count, rng) for part in _parts(option)]
                written.extend(map("".join, zip(*columns, strict=False)))
        result = [""] * n
        for place, text in zip(order.tolist(), written, strict=True):
            result[place] = text
        return result

    def _column(self, part: Part, n: int, rng: np.random.Generator) -> Sequence[str]:
        if isinstance(part, str):
            return list(repeat(part, n))
        if len(part) == 2:
            return [str(value) for value in rng.integers(part[0], part[1] + 1, size=n).tolist()]
        return self.expand(part[0], n, rng)

    def narrowed(self, rng: np.random.Generator, share: float, keep: Sequence[str] = ()) -> Grammar:
        """The habits of one writer: a random `share` of each symbol's alternatives (at least one)."""
        rules = {
            name: options
            if name in keep or len(options) < 3
            else tuple(
                options[i] for i in sorted(rng.permutation(len(options))[: _share(len(options), share)])
            )
            for name, options in self.rules.items()
        }
        return replace(self, rules=rules)

    def half(self, which: Half) -> Grammar:
        """Keep every second alternative of each symbol by rank of its hash, so the halves share no wording.

        A symbol with one alternative is kept in both halves.
        """
        if which == "both":
            return self
        offset = 0 if which == "fit" else 1
        return replace(self, rules={name: _half(options, offset) for name, options in self.rules.items()})


def _share(count: int, share: float) -> int:
    return max(1, round(count * share))


def _half(options: tuple[str, ...], offset: int) -> tuple[str, ...]:
    if len(options) < 2:
        return options
    return tuple(sorted(options, key=_draw)[offset::2])


def _draw(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8, person=b"halves-2").digest()


@functools.cache
def _parts(option: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for i, piece in enumerate(_SLOT.split(option)):
        if i % 2 == 0:
            if piece:
                parts.append(piece)
        elif piece.startswith("#"):
            low, high = piece[1:].split("-")
            parts.append((int(low), int(high)))
        else:
            parts.append((piece,))
    return tuple(parts) or ("",)


def _checked(name: str, rules: Mapping[str, tuple[str, ...]]) -> Grammar:
    for symbol, options in rules.items():
        missing = {
            p[0] for o in options for p in _parts(o) if isinstance(p, tuple) and len(p) == 1
        } - rules.keys()
        if missing or not options:
            raise WorldError(
                f"grammar '{name}': symbol '{symbol}' needs {sorted(missing) or 'an alternative'}"
            )
    return Grammar(rules)


@functools.cache
def grammars(name: str) -> Mapping[str, Grammar]:
    """The packaged grammar `name`, one a language, from `name.toml` and `name_languages.toml`.

    A table `[shared]` adds its symbols to every language of its file that does not define them.
    """
    folder = files("kdguard.simulate").joinpath("grammars")
    found: dict[str, Grammar] = {}
    for path in (folder.joinpath(f"{name}.toml"), folder.joinpath(f"{name}_languages.toml")):
        if path.is_file():
            found |= _read(name, path.read_text(encoding="utf-8"))
    if not found:
        raise WorldError(f"no grammar '{name}' comes with kdguard")
    return found


def _read(name: str, text: str) -> dict[str, Grammar]:
    tables = tomllib.loads(text)
    shared = {symbol: tuple(options) for symbol, options in tables.pop("shared", {}).items()}
    return {
        language: _checked(f"{name}:{language}", shared | {s: tuple(o) for s, o in table.items()})
        for language, table in tables.items()
    }


@functools.cache
def grammar(name: str, language: str = "en", which: Half = "both") -> Grammar:
    """One language and half of a packaged grammar file."""
    available = grammars(name)
    if language not in available:
        raise WorldError(f"grammar '{name}' has no language '{language}'; it has: {', '.join(available)}")
    return available[language].half(which)
