from __future__ import annotations

from pathlib import Path

import pytest

from kdguard.errors import AttackError, InputError, OwnershipError
from kdguard.simulate.attack.recipe import load_recipe, packaged_recipes, recipe_from
from kdguard.simulate.attack.stage import make_plan, make_stage, make_tactics
from tests.simulate.attack.tiny_recipes import CLASSIFIER, TEXT, changed


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_give_a_plan_within_their_budget(name: str) -> None:
    recipe = load_recipe(name)
    setting = make_stage(recipe)
    plan = make_plan(recipe, setting, make_tactics(recipe, setting))
    assert recipe.name == name
    assert 0 < len(plan) <= recipe.budget.requests
    assert plan.attack.any()
    assert len(plan.identities) > 1


def test_there_are_recipes_of_every_kind() -> None:
    kinds = {"text", "topk", "rationale", "adversarial", "classifier", "hidden_size"}
    assert kinds <= set(packaged_recipes())


def test_the_digest_is_of_the_meaning_not_of_the_layout() -> None:
    one, two = recipe_from(TEXT), recipe_from("# a comment\n" + TEXT)
    assert one.digest == two.digest
    assert recipe_from(changed(TEXT, seed="seed = 4")).digest != one.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT + "\nsurprise = 1", "student.surprise: unknown key"),
        ("surprise = 1\n" + TEXT, "surprise: unknown key"),
        (changed(TEXT, accounts="acounts = 4"), "T1: unknown key acounts; allowed are: strength, accounts"),
        (TEXT + '\n[[tactics]]\ntactic = "T14"\nstrength = 1.0', "no tactic 'T14'; there are: T1, T2"),
        (changed(TEXT, own_examples='shape = 3'), "student.shape"),
        (changed(TEXT, requests="requests = 0"), "budget.requests: Input should be greater than 0"),
        (changed(TEXT, requests="requests = 40\noutput_tokens = 11"), "impossible budget: one request may take"),
        (
            changed(TEXT, requests="requests = 40\nmoney = 1e-9\noutput_price_per_million = 10.0"),
            "impossible budget: one request may cost",
        ),
        (
            changed(TEXT, requests="requests = 40\nmoney = 1.0"),
            "impossible budget: budget.money is 1, but nothing costs anything",
        ),
        (changed(TEXT, requests="requests = 1").replace("0.25", "0.9"), "leaves no attack among 1 requests"),
        (
            TEXT + '\n[prompts]\nselection = "entropy"\nrounds = 50',
            "impossible budget: 50 rounds need 50 requests",
        ),
        (TEXT + '\n[prompts]\nselection = "entropy"', "belong together"),
        (TEXT + '\n[prompts]\nsource = "thin_air"', "prompts.source must be one of in_domain"),
        (TEXT + '\n[campaign.more]\nx = 1', "campaign.more: unknown key"),
        (TEXT.replace("strength = 0.5", "strength = 1.0"), "T12 at full strength cleans every answer"),
        (changed(TEXT, top_logprobs=""), "learns from log-probabilities"),
        (changed(TEXT, objective='objective = "gravity"'), "gravity"),
        (changed(TEXT, objective='objective = "gkd"'), "'gkd' needs a teacher at hand"),
        (changed(TEXT, objective='objective = "topk_tail_kl"\nroute = "answer"'), "'answer' learns from texts"),
        (changed(TEXT, objective='objective = "gad"\noptions = { grup = 3 }'), "has no option grup; it has: group"),
        (changed(TEXT, objective='objective = "uld_topk"\noptions = { x = 3 }'), "has no option x"),
        (TEXT + '\n[prompts]\nselection = "self_instruct"\nrounds = 4', "rounds must be odd"),
        (TEXT + '\n[prompts]\nselection = "entropy"\nrounds = 3\nwriter = "teacher"', "belongs to the selections"),
        (TEXT + '\n[classifier]\nattack = "jacobian"', "needs a teacher of kind 'classifier'"),
        (CLASSIFIER + '\n[student]\nsteps = 3', "no 'student'"),
        (CLASSIFIER + '\n[[tactics]]\ntactic = "T4"\nstrength = 1.0', "takes the tactics T1, T10, T13, T2 only"),
        (changed(TEXT, kind='kind = "psychic"'), "teacher: Input tag 'psychic'"),
        ("name = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe_from(text, "r.toml")
    assert message in str(caught.value)


ENDPOINT = """
name = "remote"
[teacher]
kind = "endpoint"
url = "{url}"
model = "m"
{more}
[budget]
requests = 3
"""


def test_an_address_beyond_loopback_needs_a_declaration() -> None:
    with pytest.raises(AttackError, match="is not this machine: declare 'owned'"):
        recipe_from(ENDPOINT.format(url="https://api.example.com/v1", more=""))
    recipe_from(ENDPOINT.format(url="http://127.0.0.1:8000/v1", more=""))
    recipe_from(ENDPOINT.format(url="https://api.example.com/v1", more='owned = "our own server"'))
    recipe_from(ENDPOINT.format(url="https://api.example.com/v1", more='permission = "contract 7, J. Doe"'))


def test_a_white_box_objective_needs_ownership_and_another_command() -> None:
    inside = changed(TEXT, objective='objective = "hidden_mse"')
    with pytest.raises(OwnershipError, match="declaration of ownership"):
        recipe_from(inside)
    owned = '\n[ownership]\nteacher = "toy-aurora-0"\nowner = "us"\nowned = true'
    with pytest.raises(AttackError, match="needs a teacher at hand"):
        recipe_from(inside + owned)


def test_a_missing_recipe_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(AttackError, match="no recipe 'nowhere'; packaged are: adversarial, classifier"):
        load_recipe("nowhere")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(AttackError, match="must be readable UTF-8 text"):
        load_recipe(tmp_path / "b.toml")
    (tmp_path / "r.toml").write_text(TEXT, encoding="utf-8")
    assert load_recipe(tmp_path / "r.toml").name == "tiny"
