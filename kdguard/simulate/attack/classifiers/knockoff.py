"""Knock-off nets: buy answers for rows of a foreign pool, at random or where the reward is.

References:
    Orekondy, Schiele and Fritz (2019), Knockoff Nets, CVPR, arXiv 1812.02766, section 4 (gradient bandit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Student, Training, fit, step, untrained
from kdguard.simulate.attack.selection.uncertainty import Ints

Reward = Literal["certainty", "diversity", "loss", "all"]


@dataclass(frozen=True, eq=False)
class Loot:
    """What an attack brought home.

    Attributes:
        inputs: Rows asked, shape (n, d), in the order asked.
        answers: What the victim said, shape (n, c).
        student: Trained on both.
    """

    inputs: Floats
    answers: Floats
    student: Student


def random_knockoff(oracle: Oracle, pool: Floats, training: Training, seed: int) -> Loot:
    """Spend the budget on rows drawn evenly from the pool, without replacement."""
    places = np.random.default_rng(seed).permutation(len(pool))[: oracle.left]
    answers = oracle.answer(pool[places])
    return Loot(pool[places], answers, fit(pool[places], answers, training, seed))


def adaptive_knockoff(
    oracle: Oracle, pool: Floats, groups: Ints, training: Training, seed: int, reward: Reward = "all"
) -> Loot:
    """Learn by a gradient bandit which group of the pool to buy from.

    Args:
        oracle: The victim.
        pool: Rows to buy, shape (n, d); none is bought twice.
        groups: Group of each row, 0 to g - 1, shape (n,): classes of the pool, or clusters.
        training: How the final student is trained; a running one learns from each answer.
        seed: Of everything drawn.
        reward: What makes an answer worth having.
    """
    if len(groups) != len(pool):
        raise AttackError(f"need one group a row, got {len(groups)} for {len(pool)} rows")
    rng = np.random.default_rng(seed)
    free = [rng.permutation(np.flatnonzero(groups == g)).tolist() for g in range(int(groups.max()) + 1)]
    bandit = Bandit(len(free))
    judge = Judge(oracle.classes, reward)
    running = untrained(pool.shape[1], oracle.classes, training, seed)
    optimiser = torch.optim.Adam(running.module.parameters(), lr=training.learning_rate)
    places: list[int] = []
    answers: list[Floats] = []
    for _ in range(min(oracle.left, len(pool))):
        group = bandit.draw(rng, np.array([len(rows) > 0 for rows in free]))
        places.append(free[group].pop())
        row = pool[places[-1:]]
        answers.append(oracle.answer(row))
        predicted = running.probabilities(row)[0]
        bandit.learn(group, judge(answers[-1][0], predicted))
        step(running, optimiser, *(torch.from_numpy(v.astype(np.float32)) for v in (row, answers[-1])))
    bought = np.concatenate(answers)
    return Loot(pool[places], bought, fit(pool[places], bought, training, seed))


class Bandit:
    """Preferences over g actions; learning rate 1 over the number of times an action was drawn."""

    def __init__(self, actions: int) -> None:
        self.preference = np.zeros(actions)
        self._count = np.zeros(actions)
        self._baseline = 0.0
        self._policy = np.full(actions, 1 / actions)

    def draw(self, rng: np.random.Generator, open_actions: np.ndarray) -> int:
        """One action that is open, by the softmax of the preferences."""
        weights = np.where(open_actions, np.exp(self.preference - self.preference.max()), 0.0)
        self._policy = weights / weights.sum()
        return int(rng.choice(len(weights), p=self._policy))

    def learn(self, action: int, reward: float) -> None:
        """Move the preferences along the policy gradient (Orekondy et al., eq. 2 and 3)."""
        self._count[action] += 1
        self._baseline += (reward - self._baseline) / self._count.sum()
        chosen = np.arange(len(self.preference)) == action
        self.preference += (reward - self._baseline) * (chosen - self._policy) / self._count[action]


class Judge:
    """Rewards of one answer; each is put on a common scale by its running mean and deviation."""

    def __init__(self, classes: int, reward: Reward) -> None:
        self._kind = reward
        self._seen = 0
        self._usual = np.zeros(classes)
        self._mean, self._spread = np.zeros(3), np.zeros(3)

    def __call__(self, answer: Floats, predicted: Floats) -> float:
        """Reward of the victim's `answer` where the student `predicted`; both shape (c,)."""
        self._seen += 1
        self._usual += (answer - self._usual) / self._seen
        top = np.sort(answer)[-2:]
        values = np.array(
            [
                top[1] - top[0],
                np.maximum(answer - self._usual, 0).sum(),
                -(answer * np.log(np.maximum(predicted, 1e-12))).sum(),
            ]
        )
        self._mean += (values - self._mean) / self._seen
        self._spread += ((values - self._mean) ** 2 - self._spread) / self._seen
        if self._kind == "all":
            scaled = (values - self._mean) / np.sqrt(np.maximum(self._spread, 1e-12))
            return float(scaled.mean())
        return float(values[("certainty", "diversity", "loss").index(self._kind)])
