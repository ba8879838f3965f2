"""The decoding engine against transformers' own generation, and against itself in other company."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import MistralConfig, MistralForCausalLM

from kdguard.distill.teachers.generation import Completion, Engine, Request
from kdguard.errors import ModelError, TeacherError
from tests.distill.teachers.tiny import gpt2, llama

VOCAB = 320
BYTES = tuple(b"%d," % at for at in range(VOCAB))


def close(found: Any, wanted: Any, atol: float) -> None:
    np.testing.assert_allclose(found, wanted, atol=atol)


def engine(model: Any, **settings: Any) -> Engine:
    common: dict[str, Any] = {"token_bytes": BYTES, "ends": [0], "rows": 8}
    return Engine(model, **(common | settings))


def prompts(count: int, rng: np.random.Generator, longest: int = 30) -> list[tuple[int, ...]]:
    return [tuple(rng.integers(1, VOCAB, int(rng.integers(1, longest))).tolist()) for _ in range(count)]


def complete(made: Engine, requests: Sequence[Request]) -> dict[Any, Completion]:
    return {done.key: done for done in made.run(requests)}


def assert_same(one: Completion, other: Completion) -> None:
    """Equal tokens; log-probabilities equal but for rounding of differently shaped matrix products."""
    assert one.token_ids.tolist() == other.token_ids.tolist()
    assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
    if one.logprobs is not None:
        close(one.logprobs, other.logprobs, atol=2e-5)
        close(one.top_logprobs, other.top_logprobs, atol=2e-5)
        close(one.tail_mass, other.tail_mass, atol=2e-5)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (llama(), {}),
        (llama(), {"plain": True}),
        (llama(tie_word_embeddings=True, num_key_value_heads=4, seed=3), {}),
        (llama(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}), {}),
        (llama(hidden_act="gelu"), {}),
        (gpt2(), {}),
    ],
    ids=["llama", "plain", "tied", "scaled rotary", "other activation", "gpt2"],
)
def test_greedy_agrees_with_generate(model: Any, settings: dict[str, Any], rng: np.random.Generator) -> None:
    asked = prompts(10, rng)
    requests = [
        Request(key=at, prompt_ids=ids, max_tokens=12 + at % 7, temperature=0, top_logprobs=5)
        for at, ids in enumerate(asked)
    ]
    done = complete(engine(model, **settings), requests)
    assert len(done) == len(asked)
    for at, ids in enumerate(asked):
        with torch.inference_mode():
            whole = model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
                do_sample=False,
                max_new_tokens=12 + at % 7,
            )[0]
            logprobs = model(whole[None]).logits[0, len(ids) - 1 : -1].float().log_softmax(-1)
        wanted = whole[len(ids) :].tolist()
        ended = wanted[-1] == 0
        wanted = wanted[:-1] if ended else wanted
        found = done[at]
        assert found.token_ids.tolist() == wanted
        assert found.finish_reason == ("stop" if ended else "length")
        best = logprobs[: len(wanted)].topk(5)
        close(found.top_logprobs, best.values.numpy(), atol=5e-5)
        close(found.tail_mass, 1 - best.values.exp().sum(-1).numpy(), atol=5e-5)
        close(found.logprobs, best.values[:, 0].numpy(), atol=5e-5)


def mixed(rng: np.random.Generator, count: int = 18) -> list[Request]:
    """Requests of every kind."""
    return [
        Request(
            key=at,
            prompt_ids=ids,
            max_tokens=5 + 3 * (at % 6),
            temperature=(0.0, 0.7, 1.0, 1.3)[at % 4],
            top_p=(1.0, 0.8, 1.0)[at % 3],
            seed=at // 2,
            stream=at % 2,
            stop=(b"17,", b"3,1") if at % 5 == 0 else (),
            logit_bias={7: 3.0, 9: -100.0} if at % 7 == 0 else {},
            top_logprobs=(4, 2, 7)[at % 3],
        )
        for at, ids in enumerate(prompts(count, rng))
    ]


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_company_changes_nothing(rows: int, rng: np.random.Generator) -> None:
    requests = mixed(rng)
    model = llama()
    together = complete(engine(model), requests)
    shuffled = [requests[at] for at in rng.permutation(len(requests))]
    apart = complete(engine(model, rows=rows, steps=1 + rows % 5), shuffled)
    assert together.keys() == apart.keys()
    for key, one in together.items():
        assert_same(one, apart[key])


def test_the_fast_and_the_general_path_agree(rng: np.random.Generator) -> None:
    requests, model = mixed(rng), llama()
    fast, plain = complete(engine(model), requests), complete(engine(model, plain=True), requests)
    for key, one in fast.items():
        assert_same(one, plain[key])


def test_late_requests_join_those_under_way(rng: np.random.Generator) -> None:
    model = llama()
    requests = mixed(rng)
    alone = complete(engine(model), requests)
    made = engine(model, rows=6)
    parts: dict[Any, bytes] = {}
    reasons: dict[Any, str] = {}
    waiting = list(requests)
    while waiting or made.unfinished:
        for request in waiting[:2]:
            made.submit(request)
        del waiting[:2]
        for piece in made.advance():
            assert piece.key not in reasons, "nothing may follow the last piece"
            parts[piece.key] = parts.get(piece.key, b"") + piece.text
            if piece.finish_reason is not None:
                reasons[piece.key] = piece.finish_reason
    assert parts == {key: done.text for key, done in alone.items()}
    assert reasons == {key: done.finish_reason for key, done in alone.items()}


def test_samples_follow_the_distribution() -> None:
    """Chi-square over 2,000 draws; with other seeds each of the three would fail once in a million runs."""
    model, ids = llama(seed=5), (5, 6, 7)
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, -1].double()
    for temperature, top_p in ((1.0, 1.0), (0.6, 1.0), (1.4, 0.7)):
        wanted = (logits / temperature).softmax(-1)
        order = wanted.argsort(descending=True)
        before = wanted[order].cumsum(0) - wanted[order]
        kept = order[before < top_p]
        inside = torch.zeros_like(wanted).index_copy(0, kept, wanted[kept])
        inside /= inside.sum()
        draws = [
            Request(
                key=seed,
                prompt_ids=ids,
                max_tokens=1,
                seed=seed,
                temperature=temperature,
                top_p=top_p,
                stream=3,
            )
            for seed in range(2_000)
        ]
        # an end token leaves no token behind: count it as id 0
        found = [int((*done.token_ids, 0)[0]) for done in engine(model, rows=500).run(draws)]
        counts = np.bincount(found, minlength=VOCAB)
        assert counts[inside.numpy() == 0].sum() == 0
        common = inside.numpy() * len(draws) >= 5
        observed = [*counts[common], counts[~common].sum()]
        expected = [*(inside.numpy()[common] * len(draws)), inside.numpy()[~common].sum() * len(draws)]
        if expected[-1] < 5:
            observed, expected = observed[:-1], expected[:-1]
        assert chisquare(observed, np.array(expected) * (sum(observed) / sum(expected))).pvalue > 1e-6


def test_logprobs_are_the_models_own_unless_asked_otherwise() -> None:
    """Temperature never shows; the bias shows only with `biased`."""
    model, ids = llama(seed=1), (4, 5)
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, -1].float()
    bias = {11: 30.0, 12: 29.0}
    request = Request(key=0, prompt_ids=ids, max_tokens=1, temperature=0.5, logit_bias=bias, top_logprobs=3)
    raised = logits.clone()
    raised[11] += 30.0
    raised[12] += 29.0
    for told, source in (("model", logits), ("biased", raised)):
        [done] = engine(model, logprobs_of=told).run([request])
        assert done.token_ids[0] in (11, 12)
        assert done.top_ids is not None
        assert done.top_logprobs is not None
        assert done.logprobs is not None
        best = source.log_softmax(-1).topk(3)
        close(done.top_logprobs[0], best.values.numpy(), atol=1e-5)
        assert done.top_ids[0].tolist() == best.indices.tolist()
        close(done.logprobs[0], source.log_softmax(-1)[done.token_ids[0]], atol=1e-5)


def test_extreme_settings_stay_finite() -> None:
    model = llama(seed=2)
    greedy = complete(engine(model), [Request(key=0, prompt_ids=(3,), max_tokens=8, temperature=0)])[0]
    for at, (temperature, top_p) in enumerate([(1e-40, 1.0), (1e-6, 1.0), (2.0, 1e-9)]):
        [done] = engine(model).run(
            [
                Request(
                    key=at,
                    prompt_ids=(3,),
                    max_tokens=8,
                    temperature=temperature,
                    top_p=top_p,
                    seed=-(2**63),
                    top_logprobs=VOCAB,
                )
            ]
        )
        assert done.token_ids.tolist() == greedy.token_ids.tolist()
        assert done.top_logprobs is not None
        assert done.tail_mass is not None
        assert np.isfinite(done.top_logprobs).all()
        assert done.tail_mass.max() < 1e-5


def test_a_full_context_ends_with_length() -> None:
    model = llama(context=32, ends=None)
    requests = [Request(key=n, prompt_ids=(5,) * n, max_tokens=100) for n in (1, 20, 31)]
    done = complete(engine(model, ends=()), requests)
    assert {key: len(one.token_ids) for key, one in done.items()} == {1: 31, 20: 12, 31: 1}
    assert {one.finish_reason for one in done.values()} == {"length"}


@pytest.mark.parametrize(
    "bad",
    [
        {"prompt_ids": ()},
        {"prompt_ids": (1,) * 256},
        {"prompt_ids": (VOCAB,)},
        {"prompt_ids": (-1,)},
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"stop": (b"",)},
        {"top_logprobs": -1},
        {"logit_bias": {VOCAB: 1.0}},
    ],
    ids=str,
)
def test_impossible_requests_are_refused(bad: dict[str, Any]) -> None:
    made = engine(llama())
    good: dict[str, Any] = {"key": 0, "prompt_ids": (1,)}
    with pytest.raises(TeacherError):
        made.submit(Request(**(good | bad)))
    assert made.unfinished == 0


def test_cancelled_requests_say_nothing_more(rng: np.random.Generator) -> None:
    model = llama(ends=None)
    requests = [Request(key=at, prompt_ids=ids, max_tokens=20) for at, ids in enumerate(prompts(12, rng))]
    alone = complete(engine(model, ends=()), requests)
    made = engine(model, rows=4, ends=())
    for request in requests:
        made.submit(request)
    pieces = made.advance()
    made.cancel([0, 1, 11])
    while made.unfinished:
        pieces += made.advance()
    texts: dict[Any, bytes] = {}
    for piece in pieces:
        texts[piece.key] = texts.get(piece.key, b"") + piece.text
    assert 11 not in texts
    assert {key: texts[key] for key in range(2, 11)} == {key: alone[key].text for key in range(2, 11)}


def test_trained_weights_are_taken_up_after_refresh() -> None:
    model = llama(seed=7)
    made = engine(model)
    request = Request(key=0, prompt_ids=(9, 8), max_tokens=10, temperature=0)
    before = complete(made, [request])[0]
    model.load_state_dict(llama(seed=8).state_dict())
    made.refresh()
    assert_same(complete(made, [request])[0], complete(engine(model), [request])[0])
    assert complete(made, [request])[0].text != before.text


def test_a_short_window_is_refused() -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=1,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=16,
        max_position_embeddings=64,
    )
    model = MistralForCausalLM(config).train(False)
    with pytest.raises(ModelError, match="16 positions"):
        engine(model)
    [done] = engine(model, context=16).run([Request(key=0, prompt_ids=(1, 2), max_tokens=5)])
    assert 1 <= len(done.token_ids) <= 5 or done.finish_reason == "stop"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler itself uses what torch deprecates
def test_a_compiled_step_gives_the_same() -> None:
    model = llama(ends=None)
    requests = [
        Request(key=at, prompt_ids=(4, 5 + at), max_tokens=6, seed=at, temperature=0.9, top_logprobs=3)
        for at in range(3)
    ]
    plain, compiled = (complete(engine(model, ends=(), compiled=it), requests) for it in (False, True))
    for key, one in plain.items():
        assert_same(one, compiled[key])
