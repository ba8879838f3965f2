"""Marks as they are written: by hand, by the simulator's teacher, as transformers writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from kdguard.detectors.watermark.detect import Detection, detect  # noqa: E402
from kdguard.detectors.watermark.keys import MarkKey, derived_key  # noqa: E402
from kdguard.detectors.watermark.processors import MarkProcessor  # noqa: E402
from kdguard.detectors.watermark.schemes.kgw import KgwLeft, KgwSelf  # noqa: E402
from kdguard.detectors.watermark.schemes.registry import make_scheme  # noqa: E402
from kdguard.detectors.watermark.schemes.scheme import Scheme  # noqa: E402
from kdguard.detectors.watermark.windows import Texts  # noqa: E402
from kdguard.distill.teachers.generation import Engine, Request  # noqa: E402
from kdguard.errors import WatermarkError  # noqa: E402
from tests.distill.teachers.tiny import llama  # noqa: E402

VOCAB = 320
WRITTEN = ["green-siphash", "gumbel-philox", "synthid-philox", "synthid-table", "kgw-left"]


def _scheme(name: str) -> Scheme:
    return make_scheme(name, {"vocab": VOCAB} if name == "kgw-left" else {})


def _key(scheme: Scheme, secret: bytes = b"a secret of thirty-two bytes, so") -> MarkKey:
    return derived_key(secret, scheme.key_words, scheme.key_bits)


def _log10_p(scheme: Scheme, key: MarkKey, texts: list[Any]) -> float:
    (found,) = detect(scheme, key, Texts.of(texts), decoys=0)
    assert isinstance(found, Detection)
    assert found.log10_p is not None
    return found.log10_p


def _answers(
    mark: MarkProcessor | None, *, rows: int = 4, steps: int = 8, **asked: Any
) -> dict[Any, list[int]]:
    engine = Engine(
        llama(), token_bytes=(b"x",) * VOCAB, ends=[], rows=rows, context=128, steps=steps, mark=mark
    )
    requests = [Request(key=at, prompt_ids=(at + 1, 7), max_tokens=100, seed=at, **asked) for at in range(8)]
    return {done.key: done.token_ids.tolist() for done in engine.run(requests)}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_teacher_writes_is_found(name: str) -> None:
    scheme = _scheme(name)
    texts = list(_answers(MarkProcessor(scheme, _key(scheme), vocab=VOCAB)).values())
    assert _log10_p(scheme, _key(scheme), texts) < -6
    assert _log10_p(scheme, _key(scheme, b"another secret, also of 32 bytes"), texts) > -6


def test_selfhash_of_a_teacher_is_found() -> None:
    scheme = KgwSelf(VOCAB, context=3)
    texts = list(_answers(MarkProcessor(scheme, _key(scheme), vocab=VOCAB, delta=6.0)).values())
    assert _log10_p(scheme, _key(scheme), texts) < -6


@pytest.mark.parametrize("name", ["green-siphash", "gumbel-philox"])
def test_marks_do_not_depend_on_company(name: str) -> None:
    scheme = _scheme(name)
    mark = MarkProcessor(scheme, _key(scheme), vocab=VOCAB)
    assert _answers(mark) == _answers(mark, rows=3, steps=5) == _answers(mark, rows=1)


def test_each_account_gets_its_own_mark_whatever_its_company() -> None:
    scheme = _scheme("green-siphash")
    marks = {name: MarkProcessor(scheme, _key(scheme, name.encode() * 32), vocab=VOCAB) for name in "ab"}

    def told(rows: int) -> dict[str, list[list[int]]]:
        engine = Engine(
            llama(),
            token_bytes=(b"x",) * VOCAB,
            rows=rows,
            context=128,
            mark_of=lambda who: marks.get(who or ""),
        )
        asked = [
            Request(key=at, prompt_ids=(at + 1, 7), max_tokens=100, account="abc"[at % 3]) for at in range(24)
        ]
        done = {one.key: one.token_ids.tolist() for one in engine.run(asked)}
        return {who: [done[at] for at in range(24) if "abc"[at % 3] == who] for who in "abc"}

    texts = told(5)
    for who in "ab":
        assert _log10_p(scheme, _key(scheme, who.encode() * 32), texts[who]) < -6
        others = [*texts["c"], *texts["b" if who == "a" else "a"]]
        assert _log10_p(scheme, _key(scheme, who.encode() * 32), others) > -4
    assert told(1) == texts


def test_a_greedy_teacher_is_left_alone() -> None:
    scheme = _scheme("gumbel-philox")
    mark = MarkProcessor(scheme, _key(scheme), vocab=VOCAB)
    assert _answers(mark, temperature=0) == _answers(None, temperature=0)


def test_kgw_adds_what_transformers_adds() -> None:
    scheme = KgwLeft(VOCAB)
    key = _key(scheme)
    rival = transformers.WatermarkLogitsProcessor(VOCAB, "cpu", hashing_key=int(key.words[0]))
    ids, scores = torch.randint(1, VOCAB, (5, 9)), torch.randn(5, VOCAB)
    assert torch.equal(MarkProcessor(scheme, key, vocab=VOCAB)(ids, scores), rival(ids, scores))


@pytest.mark.parametrize("context", [1, 3])
def test_selfhash_adds_what_transformers_adds(context: int) -> None:
    scheme = KgwSelf(VOCAB, context=context)
    key = _key(scheme)
    rival = transformers.WatermarkLogitsProcessor(
        VOCAB, "cpu", hashing_key=int(key.words[0]), seeding_scheme="selfhash", context_width=context
    )
    ids, scores = torch.randint(1, VOCAB, (5, 9)), torch.randn(5, VOCAB)
    ours = MarkProcessor(scheme, key, vocab=VOCAB)(ids, scores)
    assert torch.equal(ours, rival(ids, scores))
    assert 0 < (ours != scores).sum() < 5 * 40


def test_a_tournament_is_transformers() -> None:
    scheme = _scheme("synthid-table")
    rival = transformers.SynthIDTextWatermarkLogitsProcessor(
        ngram_len=5,
        keys=_key(scheme).words.astype(np.int64).tolist(),
        sampling_table_size=2**16,
        sampling_table_seed=0,
        context_history_size=1024,
        device=torch.device("cpu"),
    )
    ids, scores = torch.randint(1, VOCAB, (3, 4)), torch.randn(3, VOCAB)
    coins, _ = rival._compute_keys(ids, torch.arange(VOCAB).expand(3, -1))
    expected = rival.update_scores(scores, rival.sample_g_values(coins))
    ours = MarkProcessor(scheme, _key(scheme), vocab=VOCAB)(ids, scores)
    torch.testing.assert_close(ours.softmax(-1), expected.softmax(-1), atol=1e-6, rtol=1e-4)


def test_gumbel_keeps_every_tokens_chance() -> None:
    """3,000 windows draw one token each; a chi-squared test at 1e-6 states the false failures."""
    scheme, chance = _scheme("gumbel-philox"), torch.tensor([0.5, 0.3, 0.15, 0.05])
    windows = torch.arange(1, 12_001).reshape(3_000, 4)
    told = MarkProcessor(scheme, _key(scheme), vocab=4)(windows, chance.log().expand(3_000, -1))
    drawn = np.bincount(told.argmax(-1).numpy(), minlength=4)
    assert chisquare(drawn, 3_000 * chance.double().numpy() / float(chance.double().sum())).pvalue > 1e-6


def test_the_prompt_is_no_window() -> None:
    scheme = _scheme("green-siphash")
    mark = MarkProcessor(scheme, _key(scheme), vocab=VOCAB, prompt=3)
    scores = torch.zeros(1, VOCAB)
    assert torch.equal(mark(torch.tensor([[5, 6, 7]]), scores), scores)
    assert not torch.equal(mark(torch.tensor([[5, 6, 7, 8]]), scores), scores)


def test_a_window_that_comes_again_is_not_marked_again() -> None:
    scheme = _scheme("gumbel-philox")
    mark, scores = MarkProcessor(scheme, _key(scheme), vocab=VOCAB), torch.zeros(1, VOCAB)
    fresh, again = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 3, 4, 9, 1, 2, 3, 4]])
    assert not torch.equal(mark(fresh, scores), scores)
    assert torch.equal(mark(again, scores), scores)


def test_vllm_calls_with_ids_and_logits_of_one_request() -> None:
    scheme = _scheme("green-siphash")
    mark = MarkProcessor(scheme, _key(scheme), vocab=VOCAB)
    logits = torch.randn(VOCAB)
    assert torch.equal(mark.of_request([3, 5], logits), mark(torch.tensor([[3, 5]]), logits[None])[0])
    assert torch.equal(mark.of_request([], logits), logits)


def test_generate_of_transformers_takes_a_processor() -> None:
    scheme = _scheme("green-siphash")
    mark = MarkProcessor(scheme, _key(scheme), vocab=VOCAB, prompt=2, delta=4.0)
    torch.manual_seed(0)
    prompts = torch.randint(1, VOCAB, (8, 2))
    model: Any = llama(ends=None)
    made = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=True,
        max_new_tokens=40,
        logits_processor=transformers.LogitsProcessorList([mark]),
    )
    assert _log10_p(scheme, _key(scheme), list(made[:, 2:].numpy())) < -6


def test_a_key_of_another_mark_is_refused() -> None:
    with pytest.raises(WatermarkError, match="2 numbers"):
        MarkProcessor(_scheme("green-siphash"), _key(_scheme("gumbel-philox")), vocab=VOCAB)
