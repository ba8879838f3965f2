"""Names of groups: made from their members, and kept from one search to the next while enough of them stay.

A name is `c-` and ten hexadecimal digits of SHA-256 over the ids of the members it was founded with, so a group has the
same name in every search of the same log, whatever its rank.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

Members = Collection[str]
Naming = Callable[[Sequence[Members]], Sequence[str]]
"""From the account ids of every group of a search to their names, in the same order."""

LEAST_ALIKE = 1 / 3
"""Jaccard index from which a group counts as the one it was before: it may treble, or lose two of three members."""
_DIGITS = 10


def founding_names(groups: Sequence[Members]) -> list[str]:
    """Names of groups that were never looked for before."""
    return kept_names(groups, {})


def kept_names(groups: Sequence[Members], before: Mapping[str, Members]) -> list[str]:
    """Names of groups, some of which are known.

    Args:
        groups: Account ids of each group.
        before: Account ids of each group that has a name, as it was last seen.

    Returns:
        One name a group; the pair most alike is matched first, ties by name and by order.
    """
    names: dict[int, str] = {}
    taken = set()
    for _, name, at in sorted(_alike(groups, before)):
        if name not in taken and at not in names:
            names[at] = name
            taken.add(name)
    reserved = set(before)
    for at, members in enumerate(groups):
        if at not in names:
            names[at] = _founded(members, reserved)
            reserved.add(names[at])
    return [names[at] for at in range(len(groups))]


def _alike(groups: Sequence[Members], before: Mapping[str, Members]) -> list[tuple[float, str, int]]:
    """Pairs of known and new groups that are alike: minus their Jaccard index, name, place."""
    known: dict[str, list[str]] = defaultdict(list)
    for name, members in before.items():
        for member in set(members):
            known[member].append(name)
    found = []
    for at, members in enumerate(groups):
        own = set(members)
        shared = Counter(name for member in own for name in known.get(member, ()))
        for name, common in shared.items():
            index = common / (len(own) + len(set(before[name])) - common)
            if index >= LEAST_ALIKE:
                found.append((-index, name, at))
    return found


def _founded(members: Members, reserved: Collection[str]) -> str:
    """A name that nobody has: a group may be founded by whom another, since changed, was founded by."""
    told = b"".join(len(one).to_bytes(8, "big") + one for one in sorted(name.encode() for name in members))
    number = 0
    while True:
        digest = hashlib.sha256(told + (number.to_bytes(8, "big") if number else b"")).hexdigest()
        name = f"c-{digest[:_DIGITS]}"
        if name not in reserved:
            return name
        number += 1
