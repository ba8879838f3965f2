"""Names of clusters from one search to the next, and when groups were last looked for.

They lie in a small file beside the state, which one process writes (it holds the tenant's lock), and which is written
again without an account when that is deleted. A name is kept for a while after its cluster was last seen, so that one
that comes and goes is the same one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson

from kdguard.scoring.groups.names import kept_names
from kdguard.verdict import Verdict

REMEMBERED_US = 30 * 86_400_000_000
_FILE = "clusters.json"


@dataclass(frozen=True, slots=True)
class Seen:
    """A cluster as it was last seen.

    Attributes:
        members: Ids of its accounts.
        at_us: When.
    """

    members: tuple[str, ...]
    at_us: int


@dataclass(frozen=True, slots=True)
class Clusters:
    """Clusters that have a name.

    Attributes:
        seen: By name.
        looked_us: When groups were last looked for; None = never.
    """

    seen: Mapping[str, Seen] = field(default_factory=dict)
    looked_us: int | None = None

    def names(self, groups: Sequence[Collection[str]]) -> list[str]:
        """What the groups of a search are called; see `kept_names`."""
        return kept_names(groups, {name: one.members for name, one in self.seen.items()})

    def after(self, verdicts: Sequence[Verdict], at_us: int) -> Clusters:
        """With what a search found; names that nobody bore for a month are free."""
        kept = {name: one for name, one in self.seen.items() if at_us - one.at_us < REMEMBERED_US}
        found = {one.id: Seen(one.members, at_us) for one in verdicts if one.kind == "cluster"}
        return Clusters(kept | found, at_us)

    def without(self, account: str) -> Clusters:
        """Without an account."""
        less = {
            name: replace(one, members=tuple(member for member in one.members if member != account))
            for name, one in self.seen.items()
        }
        return replace(self, seen={name: one for name, one in less.items() if one.members})

    def save(self, folder: Path) -> None:
        """Write them, whole or not at all."""
        partial = folder / f"{_FILE}.partial"
        partial.write_bytes(orjson.dumps(asdict(self)))
        os.replace(partial, folder / _FILE)


def load_clusters(folder: Path) -> Clusters:
    """What `save` wrote; nothing where there is no such file, or it is damaged: names are then made anew."""
    try:
        told = orjson.loads((folder / _FILE).read_bytes())
        seen = {name: Seen(tuple(one["members"]), one["at_us"]) for name, one in told["seen"].items()}
        return Clusters(seen, told["looked_us"])
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return Clusters()
