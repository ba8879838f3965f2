"""Worlds of benign traffic and extraction campaigns against language-model APIs."""

from __future__ import annotations

from kdguard.simulate.campaign import Campaign, Tactics
from kdguard.simulate.lookalikes import benign_lookalikes
from kdguard.simulate.pools import Pools
from kdguard.simulate.techniques import LANGUAGES, TECHNIQUES, elicit
from kdguard.simulate.traffic import Simulated, campaign_world, simulate
from kdguard.simulate.world import World, load_world

__all__ = [
    "LANGUAGES",
    "TECHNIQUES",
    "Campaign",
    "Pools",
    "Simulated",
    "Tactics",
    "World",
    "benign_lookalikes",
    "campaign_world",
    "elicit",
    "load_world",
    "simulate",
]
