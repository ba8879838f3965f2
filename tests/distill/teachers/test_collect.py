"""Collecting: nothing asked twice, no limit passed; and replaying what was collected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdguard.distill.teachers.budget import Budget, Price, Spent
from kdguard.distill.teachers.collect import Collected, collect
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.distill.teachers.replay import ReplayTeacher
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TeacherError
from tests.distill.teachers.tiny import llama, tokenizer


class Counting:
    """Answers with counts that are told, and remembers what it was asked."""

    name = "counting"

    def __init__(self, *, fails: frozenset[str] = frozenset(), dies_after: int | None = None) -> None:
        self.asked: list[str] = []
        self._fails, self._dies_after = fails, dies_after

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        for ask in reversed(asks):
            self.asked.append(ask.request_id)
            if ask.request_id in self._fails:
                yield failed(ask, self.name, status=503, error="down")
                continue
            for choice in reversed(range(ask.n)):
                yield Answer(
                    request_id=ask.request_id,
                    choice=choice,
                    model=self.name,
                    response=ask.prompt,
                    input_tokens=len(ask.prompt),
                    output_tokens=ask.max_tokens // 2,
                )
            if self._dies_after is not None and len(self.asked) >= self._dies_after:
                raise KeyboardInterrupt


def asks(count: int, **changed: Any) -> list[Ask]:
    first = Ask(request_id="", prompt="", max_tokens=10)
    return [replace(first, request_id=f"r{at:03d}", prompt=f"prompt {at}", **changed) for at in range(count)]


def test_everything_is_kept_with_its_cost(tmp_path: Path) -> None:
    seen: list[Collected] = []
    with TranscriptWriter(tmp_path) as writer:
        done = collect(
            Counting(),
            asks(20, n=2),
            writer,
            wave=6,
            progress=seen.append,
            columns=lambda ask: {"org_id": "o"},
        )
        writer.seal()
    told = read_transcripts(tmp_path).exchanges
    assert told.num_rows == 40
    assert set(told.column("org_id").to_pylist()) == {"o"}
    assert (done.asked, done.failed, done.skipped, done.stopped_by) == (20, 0, 0, None)
    assert done.spent.requests == 20
    assert done.spent.output_tokens == 20 * 2 * 5
    assert [state.asked for state in seen] == list(range(1, 21))


def test_a_run_that_died_goes_on_without_asking_twice(tmp_path: Path) -> None:
    """Even where the process ends between two answers of one request."""
    first = Counting(dies_after=7)
    with TranscriptWriter(tmp_path) as writer, pytest.raises(KeyboardInterrupt):
        collect(first, asks(20), writer, wave=4)
    second = Counting()
    with TranscriptWriter(tmp_path) as writer:
        done = collect(second, asks(20), writer, wave=4)
        writer.seal()
    assert len(first.asked) == 7
    assert not set(first.asked) & set(second.asked)
    assert (done.skipped, done.asked) == (7, 13)
    assert done.spent.requests == 20
    assert read_transcripts(tmp_path).exchanges.num_rows == 20


def test_failures_are_kept_and_asked_again(tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path) as writer:
        done = collect(Counting(fails=frozenset({"r001", "r003"})), asks(5, n=2), writer)
    assert (done.asked, done.failed, done.first_error) == (5, 2, "down")
    again = Counting()
    with TranscriptWriter(tmp_path) as writer:
        done = collect(again, asks(5, n=2), writer)
        writer.seal()
    assert sorted(again.asked) == ["r001", "r003"]
    assert done.failed == 0
    assert read_transcripts(tmp_path).exchanges.column("status").to_pylist() == [200] * 10


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.none() | st.integers(1, 12),
    tokens=st.none() | st.integers(10, 400),
    money=st.none() | st.floats(0.01, 5),
    wave=st.integers(1, 9),
)
def test_no_limit_is_passed_and_none_left_unused(
    requests: int | None,
    tokens: int | None,
    money: float | None,
    wave: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    budget = Budget(requests=requests, tokens=tokens, money=money)
    price = Price(input_per_million=10_000, output_per_million=20_000, per_request=0.05)
    wanted = asks(10)
    with TranscriptWriter(tmp_path_factory.mktemp("run")) as writer:
        done = collect(Counting(), wanted, writer, budget=budget, price=price, wave=wave)
    assert budget.passed_by(done.spent) is None
    if done.stopped_by is None:
        assert done.asked == 10
    else:
        assert budget.passed_by(done.spent.plus(price.at_most(wanted[-1]))) == done.stopped_by


def test_the_budget_covers_earlier_runs(tmp_path: Path) -> None:
    for first in (True, False):
        with TranscriptWriter(tmp_path) as writer:
            done = collect(Counting(), asks(20), writer, budget=Budget(requests=8 if first else 12))
        assert done.spent.requests == (8 if first else 12)
        assert done.stopped_by == "requests"


def test_what_is_not_told_costs_the_most_it_can() -> None:
    price, ask = Price(output_per_million=1e6), Ask(request_id="a", prompt="abc", n=2, max_tokens=10)
    most = price.at_most(ask)
    assert most == Spent(requests=1, input_tokens=11, output_tokens=20, money=20.0)
    silent = Answer(request_id="a", choice=0, model="m", response="x")
    assert price.spent_on(ask, [silent], most) == most
    assert price.spent_on(ask, [failed(ask, "m", status=429, error="slow")], most).tokens == 0
    assert price.spent_on(ask, [failed(ask, "m", status=504, error="timeout")], most) == most


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    for bad in ({"requests": 0}, {"tokens": -5}, {"money": float("nan")}):
        with pytest.raises(TeacherError, match="above 0"):
            Budget(**bad)
    with pytest.raises(TeacherError, match="at least 0"):
        Price(per_request=-1)
    with TranscriptWriter(tmp_path) as writer, pytest.raises(TeacherError, match="unique"):
        collect(Counting(), asks(2) + asks(1), writer)


def test_what_was_collected_can_be_replayed(tmp_path: Path) -> None:
    teacher = LocalTeacher(llama(seed=3), tokenizer(), name="tiny", rows=8)
    wanted = [
        replace(ask, n=2, top_logprobs=4, system="Be brief." if at % 2 else None)
        for at, ask in enumerate(asks(6))
    ]
    with TranscriptWriter(tmp_path) as writer:
        collect(teacher, wanted, writer, count_tokens=teacher.count_tokens)
        writer.seal()
    replay = ReplayTeacher.load(tmp_path, name="recorded")
    renamed = [replace(ask, request_id=f"other-{ask.request_id}") for ask in wanted]
    recorded = {(one.request_id, one.choice): one for one in replay.answer(renamed)}
    assert len(recorded) == 12
    for answer in teacher.answer(wanted):
        again = recorded[f"other-{answer.request_id}", answer.choice]
        assert (again.response, again.finish_reason, again.model) == (
            answer.response,
            answer.finish_reason,
            "tiny",
        )
        assert again.tokens is not None
        assert answer.tokens is not None
        assert again.tokens.token_bytes == answer.tokens.token_bytes
    [first] = replay.answer([replace(wanted[0], n=1)])
    assert first.choice == 0
    [unknown] = replay.answer([replace(wanted[0], prompt="never asked")])
    assert (unknown.status, unknown.error) == (404, "not_recorded")
    [other_system] = replay.answer([replace(wanted[0], system="Be long.")])
    assert other_system.status == 404


def test_nothing_to_replay_is_refused(tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path) as writer:
        collect(Counting(fails=frozenset({"r000"})), asks(1), writer)
    with pytest.raises(TeacherError, match="nothing can be replayed"):
        ReplayTeacher.load(tmp_path)
    with pytest.raises(TeacherError, match="missing: prompt"):
        ReplayTeacher(read_transcripts(tmp_path).exchanges.drop_columns(["prompt"]))


class Flaky:
    """Charges for what it does not tell: it runs out of time, or answers without counts."""

    name = "flaky"

    def __init__(self, *, times_out: bool) -> None:
        self.asked = 0
        self._times_out = times_out

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        for ask in asks:
            self.asked += 1
            if self._times_out:
                yield failed(ask, self.name, status=504, error="timeout")
            else:
                yield Answer(request_id=ask.request_id, choice=0, model=self.name, response="x")


def test_what_an_earlier_run_may_have_cost_is_not_forgotten(tmp_path: Path) -> None:
    """A try that ran out of time may have been charged, and stays so when a later try takes its place."""
    wanted = asks(4)
    each = Price().at_most(wanted[0]).tokens
    budget = Budget(tokens=9 * each)
    spent = []
    for times_out in (True, True, False, False):
        teacher = Flaky(times_out=times_out)
        with TranscriptWriter(tmp_path) as writer:
            done = collect(teacher, wanted, writer, budget=budget)
        spent.append((teacher.asked, done.spent.tokens // each, done.spent.requests, done.stopped_by))
    assert spent == [(4, 4, 4, None), (4, 8, 4, None), (1, 9, 1, "tokens"), (0, 9, 1, "tokens")]


def test_failed_requests_may_be_repeated_within_the_budget_of_requests(tmp_path: Path) -> None:
    for _ in range(3):
        with TranscriptWriter(tmp_path) as writer:
            down = Counting(fails=frozenset(ask.request_id for ask in asks(9)))
            done = collect(down, asks(9), writer, budget=Budget(requests=5))
        assert (len(down.asked), done.spent.requests, done.stopped_by) == (5, 5, "requests")
    with TranscriptWriter(tmp_path) as writer:
        done = collect(Counting(), asks(9), writer, budget=Budget(requests=5))
    assert (done.asked, done.failed, done.spent.requests) == (5, 0, 5)
