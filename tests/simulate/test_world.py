from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kdguard.errors import WorldError
from kdguard.simulate import TECHNIQUES, Campaign, Tactics, World, load_world, simulate
from kdguard.simulate.world import packaged_worlds, world_from


def test_every_packaged_world_loads() -> None:
    assert set(packaged_worlds()) == {"tiny", "standard", "campaigns", "shifted"}
    for name in packaged_worlds():
        assert load_world(name).name == name


def test_the_grid_covers_techniques_mixes_and_sizes() -> None:
    campaigns = load_world("campaigns").campaigns
    assert {c.technique for c in campaigns} == set(TECHNIQUES)
    assert {c.mix for c in campaigns} == {1.0, 0.5, 0.25, 0.1, 0.05}
    assert {1, 10, 100, 1000} <= {c.accounts for c in campaigns}


def test_the_tiny_world_has_two_campaigns() -> None:
    assert len(load_world("tiny").campaigns) == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"owners": 3, "dayz": 2}, "unknown key dayz; allowed are: campaigns, days"),
        ({"owners": 3, "campaigns": [{"technique": "cot_elicit", "size": 2}]}, "unknown key size"),
        (
            {"owners": 3, "campaigns": [{"technique": "theft"}]},
            "unknown technique 'theft'; known are: cot_elicit",
        ),
        (
            {"owners": 3, "campaigns": [{"technique": "knockoff", "tactics": {"stealth": 1}}]},
            "unknown key stealth",
        ),
        ({"owners": 3, "campaigns": [{"technique": "knockoff", "tactics": {"jitter": 2}}]}, "from 0 to 1"),
        ({"owners": 3, "campaigns": [{"technique": "knockoff", "mix": 0}]}, "mix in"),
        ({"owners": 3, "shares": {"piracy": 1.0}}, "unknown workload"),
        ({"days": 3}, "'owners' is missing"),
    ],
)
def test_a_wrong_world_says_what_is_allowed(table: dict[str, object], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        world_from(table)


def test_an_unknown_world_names_the_packaged_ones() -> None:
    with pytest.raises(WorldError, match="packaged are: campaigns, shifted, standard, tiny"):
        load_world("nowhere")


def test_a_world_can_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'owners = 2\ndays = 3\nstart = 2026-03-01T00:00:00Z\n[[campaigns]]\ntechnique = "knockoff"\n'
    )
    world = load_world(path)
    assert world.days == 3
    assert world.campaigns[0].technique == "knockoff"
    path.write_text("owners = ")
    with pytest.raises(WorldError, match="not valid TOML"):
        load_world(path)


def test_the_census_adds_up() -> None:
    world = World("w", 137)
    assert sum(world.census().values()) == 137


def test_another_owner_or_campaign_changes_nobody_else() -> None:
    world = World("w", 40, days=5, volume_median=8, volume_cap=60)
    extra = Campaign("cot_elicit", "new", 2, 10, 1.0, None, Tactics())
    small = simulate(world, seed=4).table().to_pandas().set_index("request_id")
    large = simulate(replace(world, owners=60, campaigns=(extra,)), seed=4).table().to_pandas()
    large = large.set_index("request_id")
    assert len(large) > len(small)
    assert small.index.isin(large.index).mean() > 0.99
    shared = small.index.intersection(large.index)
    assert (small.loc[shared, "prompt"] == large.loc[shared, "prompt"]).all()


def test_the_digest_names_the_traffic_not_the_name() -> None:
    world = World("a", 5)
    assert world.digest == replace(world, name="b").digest
    assert world.digest != replace(world, days=31).digest
