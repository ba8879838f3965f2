"""Sources by the names that recipes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kdguard.errors import AttackError
from kdguard.simulate.attack.sources.evolved import Evolved
from kdguard.simulate.attack.sources.in_domain import InDomain
from kdguard.simulate.attack.sources.near_duplicates import NearDuplicates
from kdguard.simulate.attack.sources.persona import Personas
from kdguard.simulate.attack.sources.public import PublicInstructions
from kdguard.simulate.attack.sources.random_text import Excerpts, RandomWords
from kdguard.simulate.attack.sources.source import PromptSource
from kdguard.simulate.pools import Pools


@dataclass(frozen=True)
class Supplies:
    """What sources are made from.

    Attributes:
        in_domain: Prompts of the task itself.
        pools: Public texts.
    """

    in_domain: tuple[str, ...]
    pools: Pools = field(default_factory=Pools)


SOURCES: Mapping[str, Callable[[Supplies], PromptSource]] = {
    "in_domain": lambda supplies: InDomain(supplies.in_domain),
    "public": lambda supplies: PublicInstructions(supplies.pools),
    "random_words": lambda supplies: RandomWords(supplies.pools),
    "excerpts": lambda supplies: Excerpts(supplies.pools),
    "near_duplicates": lambda supplies: NearDuplicates(InDomain(supplies.in_domain)),
    "evolved": lambda supplies: Evolved(InDomain(supplies.in_domain)),
    "evolved_public": lambda supplies: Evolved(PublicInstructions(supplies.pools)),
    "personas": lambda supplies: Personas(InDomain(supplies.in_domain)),
}
"""Sources that write prompts without asking anybody."""


def source(name: str, supplies: Supplies) -> PromptSource:
    """The source of that name.

    Raises:
        AttackError: There is none.
    """
    if name not in SOURCES:
        raise AttackError(f"no prompt source '{name}'; there are: {', '.join(SOURCES)}")
    return SOURCES[name](supplies)
