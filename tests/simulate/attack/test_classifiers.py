from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.curve import ATTACKS, budget_curve
from kdguard.simulate.attack.classifiers.digits import CLASSES, Digits, Victim, digits, train_victim
from kdguard.simulate.attack.classifiers.jacobian import gradient_signs, jacobian_augmentation
from kdguard.simulate.attack.classifiers.knockoff import Bandit, Judge, adaptive_knockoff, random_knockoff
from kdguard.simulate.attack.classifiers.label_only import label_only
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Training, fit

PEER = Path(__file__).parents[3] / "fixtures" / "peers" / "art-knockoff.json"
QUICK = Training(epochs=15)


@pytest.fixture(scope="module")
def data() -> Digits:
    return digits()


def _agreement(student_rows: Floats, victim_rows: Floats) -> float:
    return float((student_rows.argmax(axis=1) == victim_rows.argmax(axis=1)).mean())


def test_the_parts_share_no_row(data: Digits) -> None:
    parts = [data.victim_inputs, data.pool, data.test_inputs]
    assert sum(map(len, parts)) == 1_797
    assert all(part.min() >= 0 and part.max() <= 1 for part in parts)
    np.testing.assert_array_equal(digits().pool, data.pool)


@pytest.mark.parametrize("kind", ["network", "forest", "linear"])
def test_victims_are_good_and_give_probabilities(data: Digits, kind: Victim) -> None:
    found = train_victim(data, kind)(data.test_inputs)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found.argmax(axis=1) == data.test_labels).mean() > 0.93


def test_the_oracle_refuses_what_the_budget_does_not_cover() -> None:
    oracle = Oracle(lambda x: np.tile([0.2, 0.8], (len(x), 1)), classes=2, budget=5, label_only=True)
    assert oracle.answer(np.zeros((3, 4))).tolist() == [[0, 1]] * 3
    with pytest.raises(AttackError, match="budget of 5 rows has 2 left, 3 were asked"):
        oracle.answer(np.zeros((3, 4)))
    assert oracle.left == 2
    with pytest.raises(AttackError, match="victim must answer"):
        Oracle(lambda x: np.zeros((1, 1)), classes=2, budget=5).answer(np.zeros((2, 4)))


@pytest.mark.parametrize("attack", sorted(ATTACKS))
@pytest.mark.parametrize("labels", [False, True])
def test_every_attack_spends_its_budget_and_wins_by_it(data: Digits, attack: str, labels: bool) -> None:
    """Agreement grows by more than ten points from 40 to 300 rows; a chance of 1e-6 if it did not grow at all."""
    victim = train_victim(data)
    points = budget_curve(attack, data, victim, [40, 300], seeds=[0, 1], label_only=labels, training=QUICK)
    assert all(
        0 <= point.budget - point.asked < 2 for point in points
    )  # pairs of questions leave one at most
    small, large = (np.mean([p.agreement for p in points if p.budget == b]) for b in (40, 300))
    assert large > small + 0.1
    assert large > 0.8


def test_probabilities_are_worth_more_than_labels(data: Digits) -> None:
    victim = train_victim(data, "linear")
    means = [
        np.mean(
            [
                p.agreement
                for p in budget_curve("knockoff_random", data, victim, [150], seeds=range(4), label_only=hard)
            ]
        )
        for hard in (False, True)
    ]
    assert means[0] > means[1] + 0.01


def test_growing_few_rows_beats_the_few_rows(data: Digits) -> None:
    """Averages of four thieves with 50 rows each; the gaps seen are 0.07 and 0.06, spread 0.01."""
    victim = train_victim(data)
    seen = victim(data.test_inputs)
    alone, grown, bisected = [], [], []
    for seed in range(4):
        own = data.pool[np.random.default_rng(seed).permutation(len(data.pool))[:50]]
        oracles = [Oracle(victim, classes=CLASSES, budget=budget) for budget in (50, 400, 400)]
        loot = random_knockoff(oracles[0], own, Training(), seed)
        alone.append(_agreement(loot.student.probabilities(data.test_inputs), seen))
        loot = jacobian_augmentation(oracles[1], own, Training(), seed)
        grown.append(_agreement(loot.student.probabilities(data.test_inputs), seen))
        loot = label_only(oracles[2], own, Training(), seed, share=1.0 / 8)
        bisected.append(_agreement(loot.student.probabilities(data.test_inputs), seen))
        assert oracles[1].left == 0
    assert np.mean(grown) > np.mean(alone) + 0.03
    assert np.mean(bisected) > np.mean(alone) + 0.02


def test_bisection_closes_in_on_the_border() -> None:
    """One feature, border at 0.3: after six halvings each pair is within 1/64 of it."""
    oracle = Oracle(lambda x: np.hstack([x < 0.3, x >= 0.3]).astype(float), classes=2, budget=80)
    pool = np.random.default_rng(0).random((20, 1))
    loot = label_only(oracle, pool, Training(epochs=1), 0, share=0.25, steps=6)
    assert np.abs(loot.inputs[-10:] - 0.3).max() <= 1 / 64


def test_a_bandit_learns_the_better_arm_and_never_draws_a_closed_one() -> None:
    """Arm 2 pays 1, the others 0, over 300 draws; the false-fail rate over seeds is below 1e-3."""
    rng = np.random.default_rng(0)
    bandit = Bandit(3)
    drawn = []
    for _ in range(300):
        drawn.append(bandit.draw(rng, np.array([True, False, True])))
        bandit.learn(drawn[-1], float(drawn[-1] == 2))
    assert 1 not in drawn
    assert np.mean(np.array(drawn[150:]) == 2) > 0.7
    assert int(np.argmax(bandit.preference)) == 2


def test_rewards_by_hand() -> None:
    answer, predicted = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.25, 0.25])
    assert Judge(3, "certainty")(answer, predicted) == pytest.approx(0.5)
    assert Judge(3, "diversity")(answer, predicted) == pytest.approx(0)  # the first answer is the usual one
    assert Judge(3, "loss")(answer, predicted) == pytest.approx(-(answer @ np.log(predicted)))


def test_no_row_is_bought_twice(data: Digits) -> None:
    oracle = Oracle(train_victim(data), classes=CLASSES, budget=900)
    loot = adaptive_knockoff(oracle, data.pool[:60], data.pool_labels[:60], QUICK, 0)
    assert oracle.asked == 60
    assert len(np.unique(loot.inputs, axis=0)) == len(np.unique(data.pool[:60], axis=0))


def test_gradient_signs_match_a_finite_difference(data: Digits) -> None:
    student = fit(data.pool[:50], np.eye(CLASSES)[data.pool_labels[:50]], QUICK, 0)
    row, answer = data.pool[:1], np.eye(CLASSES)[data.pool_labels[:1]]
    signs = gradient_signs(student, row, answer)[0]

    def value(moved: Floats) -> float:
        logits = student.logits(torch.from_numpy(moved.astype(np.float32))).detach().double()
        return float(logits.log_softmax(dim=1)[0, int(answer.argmax())])

    step = 1e-2
    slopes = np.array([value(row + step * e) - value(row - step * e) for e in np.eye(64)[:, None, :]])
    clear = np.abs(slopes) > np.abs(slopes).max() * 0.1
    np.testing.assert_array_equal(np.sign(slopes[clear]), signs[clear])


def test_the_same_seed_steals_the_same(data: Digits) -> None:
    victim = train_victim(data)
    one, two = (budget_curve("knockoff_adaptive", data, victim, [60], training=QUICK) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("strategy", ["random", "adaptive"])
def test_comparable_with_art(data: Digits, strategy: str) -> None:
    """Knock-off against the same linear victim, pool, network and training as ART, hard labels.

    Random buying must agree with ART's mean over seeds within four standard errors (false fail 1e-4); the bandit
    must not do worse by as much.
    """
    peer = json.loads(PEER.read_text())["agreement"][strategy]
    victim = train_victim(data, "linear")
    for budget, theirs in peer.items():
        points = budget_curve(
            f"knockoff_{strategy}", data, victim, [int(budget)], seeds=range(6), label_only=True
        )
        ours = np.array([point.agreement for point in points])
        noise = 4 * np.sqrt(ours.var(ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
        assert ours.mean() > np.mean(theirs) - noise
        if strategy == "random":
            assert ours.mean() < np.mean(theirs) + noise


def test_unknown_attacks_and_impossible_budgets_are_named(data: Digits) -> None:
    victim = train_victim(data, "linear")
    with pytest.raises(AttackError, match="no attack 'magic'; known are: knockoff_random"):
        budget_curve("magic", data, victim, [10])
    with pytest.raises(AttackError, match="at least 10 rows"):
        budget_curve("jacobian", data, victim, [5])
    with pytest.raises(AttackError, match="do not fit"):
        jacobian_augmentation(Oracle(victim, classes=CLASSES, budget=5), data.pool[:6], QUICK, 0)
