from __future__ import annotations

import numpy as np
import torch

from kdguard.distill.fleets.probes import Text
from kdguard.distill.fleets.readings import documents_of_texts, likelihoods, shortened
from kdguard.exchanges.tokens import TokenTrace
from tests.distill.teachers.tiny import llama, tokenizer


def test_likelihoods_are_those_of_each_text_alone() -> None:
    model, cut = llama(), tokenizer(chat=True)
    texts = [
        Text(number, "a", "served", "a", None, "A student" * (1 + number % 3), "learns " * (1 + number))
        for number in range(70)
    ]
    documents = documents_of_texts(texts, cut)
    found = likelihoods(model, documents)
    for at in (0, 33, 69):
        tokens = torch.from_numpy(documents[at].tokens).long()
        said = model(tokens[None]).logits[0, :-1].log_softmax(-1).gather(1, tokens[1:, None])[:, 0]
        rated = torch.from_numpy(documents[at].weights[1:]) > 0
        assert abs(found[at] - said[rated].sum().item()) < 1e-3


def test_a_shortened_trace_keeps_its_first_tokens_within_a_thirty_second() -> None:
    rng = np.random.default_rng(3)
    logprobs = np.sort(-rng.exponential(4, (6, 5)).astype(np.float32), axis=1)[:, ::-1]
    trace = TokenTrace(
        token_bytes=tuple(bytes([at]) for at in range(6)),
        logprob=logprobs[:, 0],
        token_id=np.arange(6, dtype=np.int32),
        top_ids=np.tile(np.arange(5, dtype=np.int32), (6, 1)),
        top_logprobs=logprobs,
        tail_mass=np.full(6, 0.01, np.float32),
    )
    found = shortened(trace, 4)
    assert found.token_bytes == trace.token_bytes[:4]
    assert found.top_logprobs is not None
    assert np.abs(found.top_logprobs - logprobs[:4]).max() <= 1 / 32
    likely = logprobs[:4] >= -1
    np.testing.assert_array_equal(found.top_logprobs[likely], logprobs[:4][likely])
    assert shortened(trace, 9) == shortened(trace, 6)
