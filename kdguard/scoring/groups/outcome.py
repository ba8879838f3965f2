"""How well reported groups match campaigns, where the truth is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

FOUND_SHARE = 0.5
FOUND_PURITY = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What reported groups were worth.

    Attributes:
        found: Campaigns of which one reported group holds at least half of the accounts, and at least half of whose
            members are of the campaign, by name.
        coverage: Share of each campaign's accounts that are in any reported group, by name.
        reported: Groups reported.
        false: Groups reported less than half of whose members belong to any one campaign.
        purity: Share of the members of each true group that are of its campaign, in the order reported.
    """

    found: Mapping[str, bool]
    coverage: Mapping[str, float]
    reported: int
    false: int
    purity: tuple[float, ...]

    @property
    def false_share(self) -> float:
        """False discovery proportion of this run; 0 where nothing was reported."""
        return self.false / self.reported if self.reported else 0.0


def compare(reported: Sequence[Collection[str]], campaigns: Mapping[str, Collection[str]]) -> Outcome:
    """Compare reported groups with campaigns.

    Args:
        reported: Account ids of each reported group.
        campaigns: Account ids of each campaign.
    """
    truth = {name: frozenset(members) for name, members in campaigns.items()}
    found = dict.fromkeys(truth, False)
    caught: dict[str, set[str]] = {name: set() for name in truth}
    purity = []
    false = 0
    for group in reported:
        members = frozenset(group)
        hits = {name: len(members & accounts) for name, accounts in truth.items()}
        name = max(hits, key=lambda key: hits[key], default=None)
        for other, accounts in truth.items():
            caught[other] |= members & accounts
        if name is None or hits[name] < FOUND_PURITY * len(members):
            false += 1
            continue
        purity.append(hits[name] / len(members))
        found[name] |= hits[name] >= FOUND_SHARE * len(truth[name])
    coverage = {name: len(caught[name]) / len(accounts) for name, accounts in truth.items()}
    return Outcome(found, coverage, len(reported), false, tuple(purity))
