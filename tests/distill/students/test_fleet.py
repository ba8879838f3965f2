"""A fleet trains every student as if it were alone; accumulation and objectives are exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdguard.distill.objectives import cross_entropy, topk_renormalised_kl
from kdguard.distill.students.engine import Engine
from kdguard.distill.students.fleet import Fleet, Report, train_fleet
from kdguard.distill.students.order import rows_at, seen
from kdguard.distill.students.plan import Mix, Plan, Slot, learning_rate
from kdguard.distill.students.training import train
from kdguard.distill.students.weights import initial_weights, to_transformers
from kdguard.errors import InputError, TrainingError
from tests.distill.students.made import SHAPE, VOCAB, data

TEXT, TOPK, SAMPLED = data(0, source="corpus"), data(1, soft="topk", count=45), data(2, soft="sampled")
PLAN = Plan(steps=12, rows=4, report_every=4)
SLOTS = (
    Slot(name="text", data=TEXT, seed=1),
    Slot(name="topk", data=TOPK, mix=Mix(text=0.3, soft=0.7, temperature=2.0), seed=2, learning_rate=1e-2),
    Slot(name="sampled", data=SAMPLED, mix=Mix(text=0, soft=1, objective="sampled_kl"), seed=3, steps=7),
    Slot(
        name="warm",
        data=TEXT,
        seed=4,
        weight_decay=0.5,
        start=to_transformers(initial_weights(SHAPE, 9), SHAPE),
    ),
)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return train_fleet(SHAPE, SLOTS, PLAN)


@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: slot.name)
def test_every_slot_is_the_student_alone(fleet: Fleet, slot: Slot) -> None:
    alone = train(SHAPE, slot, PLAN)
    for name, weight in alone.stacked.items():
        torch.testing.assert_close(
            fleet.stacked[name][fleet.place(slot.name)], weight[0], rtol=1e-4, atol=2e-6
        )


def test_losses_fall_and_reports_tell_it(fleet: Fleet) -> None:
    steps, text, soft = zip(*fleet.history, strict=True)
    assert steps == (4, 8, 12)
    totals = np.add(text, soft)
    assert (totals[-1] < totals[0]).all()
    told: list[Report] = []
    train(SHAPE, SLOTS[0], PLAN, report=told.append)
    assert [each.step for each in told] == [4, 8, 12]
    assert told[0].seconds_left > 0 == told[-1].seconds_left
    assert all(each.tokens_per_s > 0 and np.isfinite(each.loss) for each in told)


def test_a_slot_that_ends_early_no_longer_changes(fleet: Fleet) -> None:
    short = train(SHAPE, SLOTS[2], replace(PLAN, steps=7))
    for name, weight in short.stacked.items():
        torch.testing.assert_close(fleet.stacked[name][2], weight[0], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("slot", SLOTS[:2], ids=lambda slot: slot.name)
def test_accumulation_is_one_big_batch(slot: Slot) -> None:
    gradients = []
    for micro_rows in (8, 4, 1):
        plan = Plan(steps=1, rows=8, micro_rows=micro_rows, clip=1e9)
        engine = Engine(SHAPE, [slot], plan, torch.device("cpu"))
        engine.step(0)
        gradients.append(torch.cat([weight.grad.flatten() for weight in engine.weights.values()]))  # type: ignore[union-attr]
    for split in gradients[1:]:
        assert ((split - gradients[0]).norm() / gradients[0].norm()).item() < 2e-6


def test_one_step_is_the_textbook_step() -> None:
    """Loss, clipping and AdamW of one slot against transformers and torch.optim, token by token."""
    slot = Slot(name="a", data=TEXT, seed=5, learning_rate=1e-2)
    plan = Plan(steps=1, rows=3, warmup=0.0, clip=0.5)
    trained = train(SHAPE, slot, plan)
    model = replace(trained, stacked={k: v[None] for k, v in initial_weights(SHAPE, 5).items()}).model()
    decays = [weight for weight in model.parameters() if weight.dim() > 1]
    plain = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1e-2, betas=plan.betas)
    losses, count = [], 0
    for row in rows_at(5, TEXT.rows, 0, 3):
        for number in range(TEXT.documents[row].max() + 1):
            places = np.flatnonzero(TEXT.documents[row] == number)
            tokens = torch.from_numpy(TEXT.tokens[row, places]).long()
            taught = torch.from_numpy(TEXT.weights[row, places])[1:] > 0
            logits = model(tokens[None]).logits[0, :-1]
            losses.append(cross_entropy(logits[taught], tokens[1:][taught]))
            count += int(taught.sum())
    (torch.cat(losses).sum() / count).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimiser.step()
    found = trained.state_dict()
    for name, weight in model.named_parameters():
        # Adam divides by the gradient's own size: where that is tiny, rounding is all there is.
        assert ((found[name] - weight).abs() > 1e-4).float().mean() < 5e-3, name


def test_an_objective_of_the_registry_goes_through_chunks() -> None:
    slot = Slot(name="a", data=TOPK, mix=Mix(text=0.5, soft=0.5, objective="topk_renormalised_kl"))
    beside = Slot(name="b", data=TOPK, mix=Mix(soft=1.0, objective="ranking_listwise"))
    fleet = train_fleet(SHAPE, [slot, beside], PLAN)
    assert np.isfinite(fleet.history[-1][2]).all()
    assert fleet.history[-1][2][0] < fleet.history[0][2][0]
    mean = topk_renormalised_kl(
        torch.zeros(1, VOCAB), torch.arange(4)[None], torch.tensor([[0.6, 0.2, 0.1, 0.05]]).log()
    )
    first = train(SHAPE, slot, replace(PLAN, steps=1, report_every=1)).history[0]
    assert abs(first[2][0] - 0.5 * mean.item()) < 0.05  # an untrained student is nearly uniform


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (Mix(soft=1, objective="forward_kl"), "needs teacher_logits, which recorded answers do not hold"),
        (Mix(soft=1, objective="hidden_mse"), "needs teacher_hidden"),
        (Mix(soft=1, objective="nonsense"), "no objective 'nonsense'"),
        (Mix(soft=1, objective="topk_uniform_kl", temperature=2), "has no temperature"),
        (Mix(soft=1, objective="topk_uniform_kl", options={"depth": 2}), "has no option depth"),
    ],
)
def test_objectives_that_recorded_answers_cannot_serve_are_refused(mix: Mix, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(SHAPE, Slot(name="a", data=TOPK, mix=mix), PLAN)


def test_slots_that_do_not_go_together_are_refused() -> None:
    one = SLOTS[0]
    for slots, message in (
        ([], "at least one slot"),
        ([one, one], "names that are unique"),
        ([replace(one, mix=Mix(soft=1))], "its data has none"),
    ):
        with pytest.raises(TrainingError, match=message):
            train_fleet(SHAPE, slots, PLAN)
    with pytest.raises(TrainingError, match="one length of at most 16"):
        train_fleet(replace(SHAPE, context=16), [one], PLAN)
    for wrong in (
        {"text": 0.0},
        {"soft": -1.0},
        {"temperature": 0.0},
        {"objective": "sampled_kl", "temperature": 2.0},
    ):
        with pytest.raises(TrainingError):
            Mix(**wrong)
    for broken in ({"rows": 6, "micro_rows": 4}, {"steps": 0}, {"warmup": 2.0}):
        with pytest.raises(TrainingError):
            Plan(**({"steps": 1, "rows": 1} | broken))


def test_students_are_models_of_transformers(fleet: Fleet) -> None:
    model = fleet.model("topk", eos_token_id=1)
    logits: Tensor = model(torch.arange(5)[None]).logits
    assert logits.shape == (1, 5, VOCAB)
    assert model.config.eos_token_id == 1
    assert sum(weight.numel() for weight in model.parameters()) == SHAPE.parameters
    with pytest.raises(TrainingError, match="no student 'x'; this fleet has text, topk"):
        fleet.state_dict("x")


def test_the_dose_counts_what_was_seen() -> None:
    slot = SLOTS[0]
    drawn = rows_at(slot.seed, TEXT.rows, 0, PLAN.steps * PLAN.rows)
    assert seen(slot, PLAN) == {"corpus": int(np.count_nonzero(TEXT.weights[drawn]))}
    assert sum(seen(SLOTS[2], PLAN).values()) < sum(seen(replace(SLOTS[2], steps=None), PLAN).values())


def test_every_round_visits_every_row_once() -> None:
    drawn = rows_at(3, 10, 0, 40).reshape(4, 10)
    assert all(sorted(one) == list(range(10)) for one in drawn.tolist())
    assert len({tuple(one) for one in drawn.tolist()}) == 4
    np.testing.assert_array_equal(rows_at(3, 10, 7, 23), drawn.ravel()[7:23])


def test_learning_rates_rise_fall_and_end() -> None:
    slot, plan = Slot(name="a", data=TEXT, learning_rate=1.0, steps=50), Plan(steps=100, rows=1, warmup=0.1)
    rates = [learning_rate(step, slot, plan) for step in range(100)]
    assert rates[:5] == sorted(rates[:5])
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[5:50] == sorted(rates[5:50], reverse=True)
    assert rates[49] == pytest.approx(0.1, abs=0.01)
    assert not any(rates[50:])


def test_soft_targets_reach_what_text_cannot() -> None:
    """On positions with a spread teacher, soft targets bring the student nearer than the sampled tokens do."""
    plan = Plan(steps=80, rows=8)
    hard = Slot(name="hard", data=TOPK, mix=Mix(text=1), learning_rate=1e-2)
    soft = Slot(name="soft", data=TOPK, mix=Mix(text=0, soft=1), learning_rate=1e-2)
    fleet = train_fleet(SHAPE, [hard, soft], plan)
    judged = [_soft_loss(fleet.state_dict(name)) for name in fleet.names]
    assert judged[1] < 0.7 * judged[0]


def _soft_loss(start: dict[str, Any]) -> float:
    slot = Slot(name="judge", data=TOPK, mix=Mix(text=0, soft=1), learning_rate=0.0, start=start)
    return train(SHAPE, slot, Plan(steps=1, rows=TOPK.rows)).history[0][2][0]
