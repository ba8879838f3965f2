"""A teacher behind the gateway: who gets which marks, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from kdguard.detectors.canary.gateway import account_filter
from kdguard.detectors.marking import MarkedTeacher, Marks, read_marks
from kdguard.detectors.twins.planning import commitments, plan_twins, read_plan, write_plan
from kdguard.detectors.twins.suspects import served_sites
from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.errors import TwinsError
from kdguard.exchanges.tokens import TokenTrace
from tests.audit.made_case import NOW, fixed_keys
from tests.detectors.canary.made_plan import RESPONSE, make_plan
from tests.detectors.twins.made_twins import candidates


class _Plain:
    name = "plain"

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        for ask in asks:
            tokens = None
            if ask.top_logprobs is not None:
                tokens = TokenTrace(token_bytes=(b"x",), logprob=np.zeros(1, np.float32))
            yield Answer(request_id=ask.request_id, choice=0, model="plain", response=RESPONSE, tokens=tokens)


def test_canaries_go_to_marked_accounts_within_their_budget(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, rewrite_share=0.0)
    marks = Marks(filters={"a1": account_filter(plan, keys, "a1")})
    teacher = MarkedTeacher(_Plain(), marks)
    served: dict[str, list[str | None]] = {"a1": [], "stranger": []}
    for account, told in served.items():
        asks = [Ask(request_id=f"{account}{n}", prompt="bread", account_id=account) for n in range(1_000)]
        told += [answer.response for answer in teacher.answer(asks)]
    assert set(served["stranger"]) == {RESPONSE}
    marked = sum(text != RESPONSE for text in served["a1"])
    assert 1 <= marked <= plan.budget.share * 1_000


def test_answers_with_log_probabilities_are_left_alone(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, rewrite_share=0.0)
    marks = Marks(
        filters={"a1": account_filter(plan, keys, "a1")}, released={("a1", "What is bread?"): "Twin."}
    )
    teacher = MarkedTeacher(_Plain(), marks)
    asks = [
        Ask(request_id=f"{n}", prompt="What is bread?", account_id="a1", top_logprobs=2) for n in range(1_000)
    ]
    assert {answer.response for answer in teacher.answer(asks)} == {RESPONSE}
    (answer,) = teacher.answer([Ask(request_id="r", prompt="What is bread?", account_id="a1")])
    assert (answer.response, answer.finish_reason, answer.status) == ("Twin.", "stop", 200)


def test_released_twins_are_served_and_the_log_tells_which(tmp_path: Path) -> None:
    store = fixed_keys(tmp_path / "keys")
    rows = candidates(3, 20, shared=True)
    plan = plan_twins(store.current, "2026-12", rows)
    path = tmp_path / "twins.parquet"
    write_plan(plan, store.current, commitments(plan, store.current, NOW), rows, path)
    teacher = MarkedTeacher(_Plain(), read_marks(store, twins=path))
    _, account, prompt, *pair = rows[0]
    asks = [
        Ask(request_id="twin", prompt=prompt, account_id=account),
        Ask(request_id="other", prompt="Another question?", account_id=account),
        Ask(request_id="stranger", prompt=prompt, account_id="stranger"),
    ]
    told = {answer.request_id: answer.response for answer in teacher.answer(asks)}
    assert told["twin"] in pair
    assert told["other"] == told["stranger"] == RESPONSE
    served = served_sites(read_plan(path), [(ask.account_id, ask.prompt) for ask in asks])
    assert {name: len(sites) for name, sites in served.items() if sites} == {account: 1}
    with pytest.raises(TwinsError, match="no request of the log"):
        served_sites(plan, [("stranger", prompt), (None, None)])
