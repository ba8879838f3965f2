"""The request classifier: what it learns from few prompts of a provider's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from kdguard.detectors.query_patterns import honest_prompts
from kdguard.detectors.query_patterns.technique import FEWEST_PROMPTS, TechniqueClassifier
from kdguard.features.text import hash_words
from kdguard.scoring.passes import sample_prompts
from kdguard.simulate import load_world, simulate
from kdguard.simulate.pools import Split
from kdguard.simulate.techniques import WRAPPED


def prompts_of(owners: int, seed: int, split: Split) -> list[str]:
    """Prompts of honest owners that learning has not seen."""
    world = replace(load_world("standard"), owners=owners, campaigns=(), volume_cap=30)
    traffic = simulate(world, seed=seed, split=split)
    ids = np.array(traffic.accounts["account_id"].to_pylist(), dtype=object)
    return sample_prompts(traffic.exchanges, ids, seed)


def alarming(few: list[str], unseen: list[str]) -> float:
    """Share of unseen honest prompts that look like extraction, 3 nats and more, when few prompts teach."""
    learnt = TechniqueClassifier.untrained(leave_out=WRAPPED[1:]).fit(few, per_technique=1_000)
    margins = learnt.margins(hash_words(pa.array(unseen, pa.string()))).max(axis=1)
    return float((margins >= 3 * 256).mean())


def test_simulated_owners_fill_up_what_a_provider_lacks() -> None:
    prompts = honest_prompts.honest_prompts()
    assert len(prompts) >= FEWEST_PROMPTS
    assert len(set(prompts)) > 0.9 * len(prompts)
    unseen = prompts_of(50, 3, "calibration")
    assert len(set(prompts) & set(unseen)) < 0.03 * len(unseen), (
        "only what everybody says, such as 'go ahead'"
    )


def test_few_prompts_are_not_all_that_honest_means(monkeypatch: pytest.MonkeyPatch) -> None:
    few, unseen = prompts_of(20, 1, "fit")[:60], prompts_of(200, 2, "calibration")
    filled = alarming(few, unseen)
    monkeypatch.setattr(honest_prompts, "honest_prompts", tuple)
    assert filled < 0.5 * alarming(few, unseen)
