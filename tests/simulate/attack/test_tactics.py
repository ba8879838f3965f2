from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.errors import AttackError
from kdguard.simulate.activity import Call
from kdguard.simulate.attack.plan import Budget, Plan, draw_plan, within_budget
from kdguard.simulate.attack.sources.in_domain import InDomain
from kdguard.simulate.attack.tactics.cleaning import Cleaning, clean_answer
from kdguard.simulate.attack.tactics.cover import CoverTraffic
from kdguard.simulate.attack.tactics.elicitation import TARGETS, Elicitation
from kdguard.simulate.attack.tactics.pacing import Drip, RateShaping
from kdguard.simulate.attack.tactics.prompts import ActiveSelection, PromptMix
from kdguard.simulate.attack.tactics.sampling import LogprobHarvest, SamplingSweep
from kdguard.simulate.attack.tactics.splitting import Splitting, near_duplicates
from kdguard.simulate.attack.tactics.sybil import Sybil
from kdguard.simulate.attack.tactics.transform import TrafficTransform, apply, describe, names
from kdguard.simulate.attack.tactics.wording import Paraphrase, Rotation, paraphrase
from kdguard.simulate.pools import Pools
from kdguard.simulate.setting import DAY, Setting, public_exits

SETTING = Setting(Pools("fit", None, 400), 1_788_000_000_000_000, 30, 40, 1, 1_000, 0, public_exits(0))
OTHER = InDomain(
    tuple(f"Name {i} rivers of the {place}." for i in range(2, 8) for place in ("north", "south", "east"))
)
TACTICS: dict[int, Callable[[float], TrafficTransform]] = {
    1: lambda s: Sybil(s, accounts=9),
    2: lambda s: RateShaping(s, "bursts"),
    3: lambda s: CoverTraffic(s * 0.95),
    4: Paraphrase,
    5: lambda s: SamplingSweep(s, choices=3),
    6: lambda s: PromptMix(s, OTHER),
    7: lambda s: ActiveSelection(s, OTHER),
    8: Elicitation,
    9: LogprobHarvest,
    10: Splitting,
    11: Rotation,
    12: lambda s: Cleaning(s, second_teacher="other"),
    13: lambda s: Drip(s, days=20),
}


def _plan(n: int = 120, requests: int = 200, **more: Any) -> Plan:
    prompts = [
        f"How many legs have {i} spiders and {i % 7} cats in house {chr(97 + i % 26) * 4}?" for i in range(n)
    ]
    budget = Budget(requests, more.pop("output_tokens", None))
    return draw_plan(SETTING, prompts, budget=budget, seed=5, call=Call(max_tokens=32), turns=3.0, **more)


def _check(plan: Plan) -> None:
    """What every plan must be."""
    n = len(plan)
    assert n <= plan.budget.requests
    assert plan.budget.output_tokens is None or plan.tokens.sum() <= plan.budget.output_tokens
    assert len(set(plan.request_id)) == n
    assert (np.diff(plan.calls.time) >= 0).all()
    assert all(
        len(column) == n for column in (plan.account, plan.seed, plan.technique, plan.tactics, plan.clean)
    )
    assert ((plan.account >= 0) & (plan.account < len(plan.identities))).all()
    clients = np.array([len(who.clients) for who in plan.identities])
    assert (plan.calls.client < clients[plan.account]).all()
    inside = plan.calls.session >= 0
    pairs = set(zip(plan.calls.session[inside].tolist(), plan.account[inside].tolist(), strict=True))
    assert len(pairs) == len({session for session, _ in pairs})
    attack = plan.attack.tolist()
    assert all((name is not None) == hit for name, hit in zip(plan.technique, attack, strict=True))


def _truth(plan: Plan) -> dict[str, bool]:
    return dict(zip(plan.request_id, plan.attack.tolist(), strict=True))


def _same(one: Plan, other: Plan) -> bool:
    return (
        one.request_id == other.request_id
        and one.calls.prompt == other.calls.prompt
        and np.array_equal(one.calls.time, other.calls.time)
        and np.array_equal(one.account, other.account)
        and np.array_equal(one.tactics, other.tactics)
        and one.identities == other.identities
    )


@pytest.mark.parametrize("number", TACTICS)
def test_strength_zero_changes_nothing(number: int) -> None:
    plan = _plan()
    assert apply(plan, [TACTICS[number](0.0)], seed=1) is plan


@pytest.mark.parametrize("number", TACTICS)
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_each_keeps_labels_budget_and_form(number: int, strength: float) -> None:
    plan = _plan()
    transform = TACTICS[number](strength)
    assert transform.tactic == number
    found = apply(plan, [transform], seed=1)
    _check(found)
    before, after = _truth(plan), _truth(found)
    assert all(after[name] == hit for name, hit in before.items() if name in after)
    assert not any(hit for name, hit in after.items() if name not in before)
    marked = found.tactics & (1 << (number - 1)) != 0
    assert marked.any()
    assert (found.tactics & ~(1 << (number - 1)) == 0).all()
    if strength == 1 and number != 3:
        assert marked[found.attack].all()
    assert _same(found, apply(plan, [transform], seed=1))
    assert not _same(found, plan)


@given(
    st.permutations(sorted(TACTICS)),
    st.lists(st.sampled_from([0.0, 0.2, 0.6, 1.0]), min_size=13, max_size=13),
    st.integers(0, 99),
    st.sampled_from([None, 2_000]),
)
@settings(max_examples=6, deadline=None)
def test_any_order_and_strength_together(
    order: list[int], strengths: list[float], seed: int, tokens: int | None
) -> None:
    plan = _plan(60, 80, output_tokens=tokens)
    transforms = [TACTICS[number](strength) for number, strength in zip(order, strengths, strict=True)]
    found = apply(plan, transforms, seed)
    _check(found)
    before = _truth(plan)
    assert all(hit == before.get(name, False) for name, hit in _truth(found).items())


def test_a_tactic_draws_the_same_whatever_stands_before_it() -> None:
    plan = _plan()
    alone = apply(plan, [Cleaning(0.5)], seed=3)
    after = apply(plan, [SamplingSweep(0.0), Drip(1.0), Cleaning(0.5)], seed=3)
    assert np.array_equal(alone.clean, after.clean)


def test_the_budget_cuts_the_last_requests() -> None:
    plan = _plan(50, 200, output_tokens=32 * 20)
    assert len(plan) == 20
    assert within_budget(plan) is plan
    wider = apply(plan, [SamplingSweep(1.0, choices=4)], seed=0)
    assert len(wider) < 20
    assert wider.request_id == plan.request_id[: len(wider)]
    with pytest.raises(AttackError, match="at least 1 request"):
        Budget(0)
    with pytest.raises(AttackError, match="at least one prompt"):
        draw_plan(SETTING, [], budget=Budget(3), seed=0)


def test_t1_shares_follow_a_power_law_and_bans_bring_new_accounts() -> None:
    plan = _plan(2_000, 2_000)
    found = apply(plan, [Sybil(1.0, accounts=20, skew=1.5, bans=0.0)], seed=1)
    counts = np.sort(np.bincount(found.account, minlength=20))[::-1]
    assert len(found.identities) == 20
    assert counts[0] > 4 * counts[4] > 0
    even = apply(plan, [Sybil(1.0, accounts=20, skew=0.0, bans=0.0)], seed=1)
    assert np.bincount(even.account).max() < 250
    banned = apply(plan, [Sybil(1.0, accounts=20, overlap=0.0, bans=0.5)], seed=1)
    assert len(banned.identities) == 30
    for new in range(20, 30):
        times = banned.calls.time[banned.account == new]
        assert len(times) == 0 or times.min() > banned.identities[new].created_at


def test_t1_overlap_is_in_cards_and_addresses() -> None:
    plan = _plan()
    apart = apply(plan, [Sybil(1.0, accounts=40, overlap=0.0, bans=0.0)], seed=1)
    tied = apply(plan, [Sybil(1.0, accounts=40, overlap=1.0, bans=0.0)], seed=1)

    def cards(plan: Plan) -> int:
        return len({who.payment_hash for who in plan.identities if who.payment_hash})

    assert cards(apart) > 30
    assert cards(tied) < 15


@pytest.mark.parametrize("shape", ["constant", "poisson", "diurnal", "bursts", "under_limit"])
def test_t2_shapes(shape: Any) -> None:
    plan = _plan(400, 400, days=6.0)
    found = apply(plan, [RateShaping(1.0, shape, per_minute=30)], seed=2)
    gaps = np.diff(found.calls.time) / 1e6
    spread = gaps.std() / gaps.mean()
    if shape == "constant":
        assert spread < 1e-3
    elif shape == "poisson":
        assert 0.8 < spread < 1.2  # exponential gaps: 1; false-fail rate below 1e-4 at 400 gaps
    elif shape == "under_limit":
        assert gaps.min() >= 2
        assert gaps.max() < 2.3
    else:
        assert spread > 1.3
    with pytest.raises(AttackError, match="T2 needs a shape"):
        RateShaping(1.0, "square")  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("requests", [120, 2_000])
def test_t3_reaches_its_share_with_and_without_room(share: float, requests: int) -> None:
    found = apply(_plan(120, requests), [CoverTraffic(share)], seed=0)
    assert 1 - found.attack.mean() == pytest.approx(share, abs=0.02)
    cover = ~found.attack
    assert (found.calls.logprobs[cover] == -1).all()
    pools = {*SETTING.pools.pool("chat").texts, *SETTING.pools.pool("question").texts}
    assert pools.issuperset(np.array(found.calls.prompt, object)[cover])
    with pytest.raises(AttackError, match=r"at most 0\.95"):
        CoverTraffic(0.96)


def test_t4_keeps_numbers_and_changes_words() -> None:
    rng = np.random.default_rng(0)
    text = "Explain how many of the 12 eggs are left. Please give each step."
    found = {paraphrase(text, rng) for _ in range(50)}
    assert len(found) > 40
    assert all("12" in one for one in found)
    shouted = apply(_plan(), [Paraphrase(1.0, rewrite=lambda text, _: text.upper())], seed=0)
    assert all(text.isupper() for text in shouted.calls.prompt)


def test_t5_climbs_the_ladder() -> None:
    found = apply(_plan(), [SamplingSweep(1.0, choices=4, temperatures=(0.0, 1.0))], seed=0)
    assert found.calls.temperature[:4].tolist() == [0, 1, 0, 1]
    assert set(found.calls.choices.tolist()) == {2, 3, 4}
    assert (np.diff(found.seed) == 1).all()


def test_t6_and_t7_send_other_prompts() -> None:
    plan = _plan(10)
    assert set(apply(plan, [PromptMix(1.0, OTHER)], seed=0).calls.prompt) <= set(OTHER.prompts)
    wanted = ActiveSelection(1.0, OTHER, choose=lambda texts, k, _: np.argsort([len(t) for t in texts])[:k])
    lengths = [len(text) for text in apply(plan, [wanted], seed=0).calls.prompt]
    assert max(lengths) <= sorted(len(text) for text in OTHER.prompts)[10]


@pytest.mark.parametrize("target", TARGETS)
def test_t8_labels_what_it_elicits(target: str) -> None:
    found = apply(_plan(20), [Elicitation(0.5, target)], seed=0)
    marked = found.tactics != 0
    assert {name for name, hit in zip(found.technique, marked, strict=True) if hit} == {target}
    assert 0 < marked.sum() < 20
    if target == "tool_trace":
        assert all((tools is not None) == hit for tools, hit in zip(found.calls.tools, marked, strict=True))


def test_t8_refuses_what_it_does_not_know() -> None:
    with pytest.raises(AttackError, match="T8 needs a target of cot_elicit"):
        Elicitation(0.5, "mind_reading")
    with pytest.raises(AttackError, match="not written in 'xx'"):
        Elicitation(0.5, "cot_elicit", "xx")


def test_t9_asks_for_alternatives_within_the_vocabulary() -> None:
    found = [apply(_plan(), [LogprobHarvest(1.0, vocabulary=64)], seed=seed) for seed in range(12)]
    assert all((plan.calls.top_logprobs == 20).all() for plan in found)
    biases = [text for plan in found for text in plan.calls.logit_bias if text]
    assert biases
    assert all(int(text.split('"')[1]) < 64 for text in biases)


def test_t10_leaves_no_conversation_and_no_duplicate() -> None:
    plan = apply(_plan(60), [Sybil(1.0, accounts=5)], seed=0)
    prompts = [f"{text} again" for text in plan.calls.prompt[:30]] * 2
    plan = apply(plan, [PromptMix(1.0, InDomain(tuple(prompts)))], seed=0)
    assert near_duplicates(plan).any()
    found = apply(plan, [Splitting(1.0)], seed=0)
    assert not near_duplicates(found).any()
    assert len(set(found.calls.session.tolist())) == len(found)
    before = dict(zip(plan.request_id, plan.account.tolist(), strict=True))
    assert all(
        before[name] != new for name, new in zip(found.request_id, found.account.tolist(), strict=True)
    )


def test_t11_rotates_demands() -> None:
    found = apply(_plan(), [Rotation(1.0, languages=False)], seed=0)
    assert len({text.rsplit("\n", 1)[1] for text in found.calls.prompt}) == 6
    unchanged = apply(_plan(), [Rotation(1.0, languages=False, forms=False)], seed=0)
    assert unchanged.calls.prompt == _plan().calls.prompt


def test_t12_marks_answers_and_mixes_teachers() -> None:
    found = apply(_plan(), [Cleaning(1.0, second_teacher="other", mixed=0.5)], seed=0)
    assert found.clean.all()
    assert 30 < found.calls.model.count("other") < 90  # binomial(120, .5): false-fail rate below 1e-7
    text = "Please\u200b  explain  each step."
    cleaned = clean_answer(text, np.random.default_rng(0))
    assert "\u200b" not in cleaned
    assert "  " not in cleaned


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_t13_stretches_and_keeps_conversations_together(strength: float) -> None:
    plan = _plan(days=2.0)
    found = apply(plan, [Drip(strength, days=20)], seed=0)

    def length(plan: Plan) -> float:
        return float(plan.calls.time.max() - plan.calls.time.min()) / DAY

    assert length(found) == pytest.approx(length(plan) + strength * (20 - length(plan)), abs=0.6)
    one = found.calls.session == found.calls.session[0]
    assert np.ptp(found.calls.time[one]) == np.ptp(
        plan.calls.time[plan.calls.session == found.calls.session[0]]
    )
    assert apply(plan, [Drip(1.0, days=0.1)], seed=0).calls.time.tolist() == plan.calls.time.tolist()


def test_a_strength_beyond_one_is_refused() -> None:
    with pytest.raises(AttackError, match="T4: strength must be from 0 to 1"):
        apply(_plan(), [Paraphrase(1.5)], seed=0)


def test_labels_read_well() -> None:
    assert names(0b1_0000_0000_0101) == "T1,T3,T13"
    assert describe([Sybil(0.5), Paraphrase(0.0), Drip(1.0)]) == "T1=0.5,T13=1"
