from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from transformers import LlamaForCausalLM

from kdguard.distill.students.shapes import Shape, llama_config
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids, train_tokenizer
from kdguard.distill.students.weights import initial_weights, to_transformers
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.errors import AttackError
from kdguard.exchanges.tokens import TokenTrace
from kdguard.simulate.attack.hidden_size import numerical_rank, recover_hidden_size
from kdguard.simulate.attack.logit_readings import read_logits

VOCABULARY = 200


@dataclass
class Wide:
    """A teacher whose hidden size is known: logits = W g(prompt) with a normalised random state per prompt.

    Attributes:
        hidden: Dimensions of the state.
        shows_bias: Whether log-probabilities are told after the bias.
        digits: Decimals that log-probabilities are rounded to; None keeps float32.
        noise: Standard deviation of noise on the logits.
        names: Tokens are named by bytes alone, as over HTTP.
    """

    hidden: int
    shows_bias: bool = True
    digits: int | None = None
    noise: float = 0.0
    names: bool = False
    name: str = "wide"

    @property
    def output(self) -> np.ndarray:
        return np.random.default_rng(7).normal(size=(VOCABULARY, self.hidden)) * 2 / np.sqrt(self.hidden)

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        output = self.output
        for ask in asks:
            state = np.random.default_rng(list(ask.prompt.encode())).normal(size=self.hidden)
            logits = output @ (state / np.sqrt((state**2).mean()))
            shaken = np.random.default_rng([*ask.request_id.encode()]).normal(size=VOCABULARY) * self.noise
            yield self._say(ask, (logits + shaken).astype(np.float32))

    def _say(self, ask: Ask, logits: np.ndarray) -> Answer:
        biased = logits.copy()
        for token, value in ask.logit_bias.items():
            biased[token] += np.float32(value)
        token = int(biased.argmax())
        told = biased if self.shows_bias else logits
        logprobs = told - np.log(np.exp(told - told.max()).sum()) - told.max()
        logprobs = logprobs if self.digits is None else np.round(logprobs, self.digits)
        best = np.argsort(-logprobs, kind="stable")[: ask.top_logprobs or 0]
        trace = TokenTrace(
            token_bytes=(b"%d" % token,),
            logprob=logprobs[[token]],
            token_id=None if self.names else np.array([token]),
            top_ids=None if self.names else best[None].astype(np.int32),
            top_bytes=(tuple(b"%d" % place for place in best.tolist()),),
            top_logprobs=logprobs[best][None],
        )
        return Answer(request_id=ask.request_id, choice=0, model=self.name, response="x", tokens=trace)


def _prompts(n: int) -> list[str]:
    return [f"prompt number {i}" for i in range(n)]


@pytest.mark.parametrize("hidden", [8, 24, 48])
def test_exact_through_biased_log_probabilities(hidden: int) -> None:
    found = recover_hidden_size(Wide(hidden), _prompts(64), range(96))
    assert found.size == hidden
    assert found.gap > 1_000
    assert found.channel == "biased"
    assert found.queries == 64 * -(-95 // 19) + 2


def test_exact_where_log_probabilities_hide_the_bias() -> None:
    found = recover_hidden_size(Wide(24, shows_bias=False), _prompts(40), range(60))
    assert found.size == 24
    assert found.channel == "forced"
    assert found.queries == 40 * 60 + 2


def test_the_basis_is_the_output_matrix_up_to_a_linear_map() -> None:
    teacher = Wide(16)
    found = recover_hidden_size(teacher, _prompts(40), range(60))
    true = (teacher.output[1:60] - teacher.output[0]).T
    outside = true - (true @ found.basis.T) @ found.basis
    assert np.linalg.norm(outside) < 1e-4 * np.linalg.norm(true)


@pytest.mark.parametrize("digits", [2, 3, 4])
def test_rounded_log_probabilities_still_tell(digits: int) -> None:
    assert recover_hidden_size(Wide(16, digits=digits), _prompts(64), range(96)).size == 16


def test_noise_hides_it_and_the_answer_is_none() -> None:
    assert recover_hidden_size(Wide(16, noise=1e-3), _prompts(64), range(96)).size == 16
    drowned = recover_hidden_size(Wide(16, noise=2.0), _prompts(64), range(96))
    assert drowned.size is None
    assert drowned.basis.shape == (0, 95)


def test_too_few_prompts_give_no_size_rather_than_a_wrong_one() -> None:
    assert recover_hidden_size(Wide(48), _prompts(30), range(60)).size is None


def test_tokens_named_by_bytes() -> None:
    names = {b"%d" % i: i for i in range(VOCABULARY)}
    found = recover_hidden_size(Wide(8, names=True), _prompts(20), range(40), token_bytes=names)
    assert found.size == 8
    with pytest.raises(AttackError, match="token_bytes"):
        recover_hidden_size(Wide(8, names=True), _prompts(20), range(40))


def test_readings_are_logit_differences() -> None:
    teacher = Wide(8)
    found = read_logits(teacher, _prompts(5), [3, 9, 11])
    for i, prompt in enumerate(_prompts(5)):
        state = np.random.default_rng(list(prompt.encode())).normal(size=8)
        logits = teacher.output @ (state / np.sqrt((state**2).mean()))
        np.testing.assert_allclose(found.differences[i], logits[[9, 11]] - logits[3], atol=2e-5)


def test_a_weak_bias_is_named() -> None:
    with pytest.raises(AttackError, match="raise 'bias'"):
        read_logits(Wide(8), _prompts(4), range(40), bias=0.5)


def test_a_teacher_that_fails_is_named() -> None:
    @dataclass
    class Down:
        name: str = "down"

        def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
            yield from (failed(ask, self.name, status=503, error="out of order") for ask in asks)

    with pytest.raises(AttackError, match="'down' failed 2 of 2 queries: out of order"):
        recover_hidden_size(Down(), _prompts(4), range(8))


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(AttackError, match="2 tokens or more"):
        read_logits(Wide(8), _prompts(4), [1])
    with pytest.raises(AttackError, match="at least 3 prompts"):
        numerical_rank(np.zeros((2, 5)))


@pytest.mark.parametrize("told", ["biased", "model"])
def test_exact_on_a_toy_teacher(told: Literal["biased", "model"]) -> None:
    """A random transformer of 32 hidden dimensions, through the API it is served by; either kind of log-probability."""
    tokenizer = train_tokenizer(["to be or not to be"], 320)
    shape = Shape(hidden=32, layers=2, heads=2, vocab=fitted_vocab(tokenizer), context=64)
    model = LlamaForCausalLM(llama_config(shape, **special_ids(tokenizer)))
    model.load_state_dict(to_transformers(initial_weights(shape, 0), shape), strict=False)
    model.tie_weights()
    teacher = LocalTeacher(model, tokenizer, name="toy", logprobs_of=told)
    prompts = [f"{i * 7919} and {i} {'be' * (i % 5)}" for i in range(40)]
    found = recover_hidden_size(teacher, prompts, range(2, 62), bias=20)  # 0 and 1 end a text
    assert found.size == 32
    assert found.channel == ("biased" if told == "biased" else "forced")
    assert found.gap > 8
