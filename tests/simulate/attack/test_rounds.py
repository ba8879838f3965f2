from __future__ import annotations

import numpy as np
import pytest

from kdguard.errors import AttackError
from kdguard.simulate.attack.asks import asks_of, columns_of
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import recipe_from
from kdguard.simulate.attack.rounds import fill, open_slots, slots, stretches
from kdguard.simulate.attack.sources.registry import SOURCES, Supplies, source
from kdguard.simulate.attack.stage import make_plan, make_stage, make_tactics
from kdguard.simulate.attack.tactics.registry import TACTICS, keys_of, tactic
from kdguard.simulate.pools import Pools
from tests.simulate.attack.tiny_recipes import TEXT, changed

SUPPLIES = Supplies(("Add two and three.", "Add four and five."), Pools("fit", None, 400))
CHOSEN = '\n[prompts]\nselection = "entropy"\nrounds = 3\n[[tactics]]\ntactic = "T8"\nstrength = 1.0\n'


def _plan(text: str) -> Plan:
    recipe = recipe_from(text)
    setting = make_stage(recipe)
    return make_plan(recipe, setting, make_tactics(recipe, setting))


def test_slots_survive_wording_and_are_filled_once() -> None:
    plan = _plan(TEXT + CHOSEN)
    places = stretches(plan, 3)
    assert np.concatenate(places).tolist() == list(range(len(plan)))
    first = places[0].tolist()
    count = open_slots(plan, first)
    assert 0 < count <= len(first)
    filled = fill(plan, first, [f"payload {i}" for i in range(count)])
    assert open_slots(filled, first) == 0
    assert open_slots(filled, places[1].tolist()) == open_slots(plan, places[1].tolist())
    wrapped = [filled.calls.prompt[i] for i in first if filled.attack[i]]
    assert all("payload" in text and len(text) > len("payload 10") for text in wrapped)
    assert len(set(slots(5))) == 5


def test_asks_and_columns_say_what_was_sent_and_nothing_else() -> None:
    plan = _plan(changed(TEXT, top_logprobs="top_logprobs = 7\ntemperature = 0.5"))
    for place, ask in enumerate(asks_of(plan, range(len(plan)))):
        columns = columns_of(plan, place)
        assert ask.request_id == plan.request_id[place]
        assert ask.account_id == plan.identities[int(plan.account[place])].account_id
        assert columns["time"] == plan.calls.time[place]
        assert columns["top_p"] is None
        assert columns["n"] is None  # never sent by this recipe, so the log has none
        if plan.attack[place]:
            assert (ask.top_logprobs, ask.temperature, ask.max_tokens) == (7, 0.5, 12)
        else:
            assert ask.top_logprobs is None
            assert columns["logprobs"] is None
    bare = _plan(changed(TEXT, objective='objective = "cross_entropy"', top_logprobs=""))
    assert columns_of(bare, 0)["temperature"] is None
    assert asks_of(bare, [0])[0].temperature == 1


def test_every_source_and_tactic_can_be_named_in_a_recipe() -> None:
    for name in SOURCES:
        assert len(source(name, SUPPLIES).draw(3, np.random.default_rng(0))) == 3
    for name in TACTICS:
        assert "strength" in keys_of(name)
        assert f"T{tactic(name, {'strength': 0.5}, SUPPLIES).tactic}" == name
    chosen = tactic("T7", {"strength": 1.0, "choose": "relevance", "source": "public"}, SUPPLIES)
    assert chosen.strength == 1


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("T7", {"strength": 1.0, "choose": "luck"}, "no choice 'luck'; there are: k_centre, relevance"),
        ("T6", {"strength": 1.0, "source": "nowhere"}, "no prompt source 'nowhere'"),
        ("T4", {"strength": 1.0, "rewrite": "x"}, "T4: unknown key rewrite"),
        ("T1", {"strength": 1.0, "accounts": "many"}, "T1: a value has the wrong type"),
    ],
)
def test_tactics_refuse_what_they_do_not_know(name: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(AttackError, match=message):
        tactic(name, values, SUPPLIES)


def test_a_selection_needs_a_student() -> None:
    text = TEXT.split("[student]")[0] + '[prompts]\nselection = "entropy"\nrounds = 2'
    with pytest.raises(AttackError, match="add a table 'student'"):
        recipe_from(text)
