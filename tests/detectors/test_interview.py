"""Asking suspects: likelihoods against transformers one by one, answers with their prompts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kdguard.detectors.interview import Continuation, answers, log_likelihoods  # noqa: E402
from kdguard.distill.teachers.local import LocalTeacher  # noqa: E402
from kdguard.errors import InputError  # noqa: E402
from tests.distill.teachers.tiny import llama, tokenizer  # noqa: E402


def test_likelihoods_are_those_of_the_model_row_by_row() -> None:
    model, words = llama(), tokenizer(chat=True)
    rows = [
        Continuation("What is counted?", "In tokens", ", one at a time."),
        Continuation(None, "A student learns", " from what the teacher says"),
        Continuation("Who?", "", "The teacher"),
    ]
    told = log_likelihoods(model, words, rows)
    for row, found in zip(rows, told.tolist(), strict=True):
        turn = [{"role": "user", "content": row.prompt or ""}]
        head = (
            words.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) if row.prompt else ""
        )
        before = [
            at
            for text in (head, row.before)
            if text
            for at in words(text, add_special_tokens=False)["input_ids"]
        ]
        after = words(row.text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            likely = model(input_ids=torch.tensor([before + after])).logits[0].log_softmax(-1)
        alone = sum(float(likely[len(before) - 1 + at, token]) for at, token in enumerate(after))
        assert found == pytest.approx(alone, rel=1e-4)


def test_a_text_that_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="each some"):
        log_likelihoods(llama(), tokenizer(), [Continuation(None, "", "alone")])
    with pytest.raises(InputError, match="1 to 256 tokens"):
        log_likelihoods(llama(), tokenizer(), [Continuation(None, "a", "word " * 300)])


def test_answers_keep_their_prompts() -> None:
    suspect = LocalTeacher(llama(), tokenizer(chat=True), name="suspect", rows=8)
    said = list(answers(suspect, [("one", "Who?"), ("two", "What?")], times=3, max_tokens=8))
    assert sorted((one.name, one.prompt) for one in said) == [("one", "Who?")] * 3 + [("two", "What?")] * 3
    assert len({one.response for one in said}) > 1
    with pytest.raises(InputError, match="answered none of 1 prompts"):
        list(answers(suspect, [("long", "word " * 500)], max_tokens=8))
    assert np.isfinite(
        log_likelihoods(suspect.model, suspect.tokenizer, [Continuation("Who?", "", "I")])
    ).all()
