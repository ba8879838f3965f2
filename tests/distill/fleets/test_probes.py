from __future__ import annotations

import pytest

from kdguard.distill.corpora.corpus import TASKS, examples, split_of
from kdguard.distill.corpora.worlds import WORLDS
from kdguard.distill.fleets.probes import label_of, probes
from tests.distill.fleets.tiny_recipe import tiny_recipe


def test_probes_are_held_out_spread_and_repeatable() -> None:
    recipe = tiny_recipe()
    found = probes(recipe)
    assert found == probes(recipe)
    assert [probe.prompt_id for probe in found] == list(range(len(found)))
    assert len({probe.prompt for probe in found}) == len(found)
    assert all(split_of(probe.prompt) == "test" for probe in found)
    assert {probe.kind for probe in found} == set(TASKS)
    assert {probe.about for probe in found if probe.kind == "facts"} == set(recipe.origins.teachers)


def test_the_truth_is_what_all_worlds_agree_on() -> None:
    recipe = tiny_recipe()
    wide = recipe.model_copy(update={"probes": recipe.probes.model_copy(update={"prompts": 40})})
    by_kind = {kind: [probe for probe in probes(wide) if probe.kind == kind] for kind in TASKS}
    assert all(probe.truth for kind in ("arithmetic", "tools", "facts") for probe in by_kind[kind])
    assert {probe.truth for probe in by_kind["refusals"]} == {"refuses", "answers", None}
    open_intents = [probe for probe in by_kind["intents"] if probe.truth is None]
    assert 0 < len(open_intents) < 20
    assert any("What about" in probe.prompt or "Let my" in probe.prompt for probe in open_intents)


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: world.name)
def test_right_answers_have_the_label_of_their_example(world: object) -> None:
    for one in examples(world, 300, seed=4):  # type: ignore[arg-type]
        label = label_of(one.kind, one.response)
        if one.kind == "arithmetic":
            assert label == one.checks[0].value
        elif one.kind == "refusals":
            assert label == one.checks[0].kind
        else:
            assert label == one.label


def test_answers_without_a_label_are_empty() -> None:
    assert label_of("arithmetic", "I do not know.") == ""
    assert label_of("intents", "book_table or get_weather") == ""
    assert label_of("tools", "no call") == ""
    assert label_of("tools", '{"name": 3}') == "3"
