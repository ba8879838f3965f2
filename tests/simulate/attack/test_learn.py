from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdguard.distill.students.tokenizer import train_tokenizer
from kdguard.distill.teachers.protocol import Answer
from kdguard.distill.transcripts.reader import Transcripts, read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import AttackError
from kdguard.exchanges.tokens import TokenTrace
from kdguard.simulate.attack.asks import ask_of, columns_of
from kdguard.simulate.attack.learn import documents_of_plan, learn
from kdguard.simulate.attack.log import attack_log
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe, recipe_from
from kdguard.simulate.attack.stage import make_plan, make_stage, make_tactics
from tests.simulate.attack.tiny_recipes import TEXT, changed

TOKENIZER = train_tokenizer(["Please explain. The answer is four."] * 4, 320)
REPLY = "Please  explain\u200b."


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Plan, Transcripts]:
    """A plan of which every fifth request failed; the others got a text with its tokens."""
    recipe = recipe_from(TEXT)
    setting = make_stage(recipe)
    plan = make_plan(recipe, setting, make_tactics(recipe, setting))
    ids = np.array(TOKENIZER(REPLY)["input_ids"])
    trace = TokenTrace(
        token_bytes=tuple(str(TOKENIZER.decode([token])).encode() for token in ids),
        logprob=np.full(len(ids), -0.1),
        token_id=ids,
        top_ids=np.stack([ids, np.full(len(ids), 40)], axis=1),
        top_logprobs=np.tile([-0.1, -3.0], (len(ids), 1)),
    )
    folder = tmp_path_factory.mktemp("told")
    with TranscriptWriter(folder) as writer:
        for place in range(len(plan)):
            ask = ask_of(plan, place)
            failed = place % 5 == 0
            answer = Answer(
                request_id=ask.request_id,
                choice=0,
                model="t",
                response=None if failed else REPLY,
                status=500 if failed else 200,
                tokens=None if failed else trace,
            )
            writer.append(ask, [answer], **columns_of(plan, place))
    return recipe, plan, read_transcripts(folder)


def test_only_answers_to_the_attack_are_learnt_and_cleaned_ones_as_text(
    asked: tuple[Recipe, Plan, Transcripts],
) -> None:
    recipe, plan, told = asked
    assert recipe.student is not None
    documents = documents_of_plan(told, plan, recipe.student, TOKENIZER, seed=0)
    usable = np.arange(len(plan)) % 5 != 0
    washed = int((usable & plan.attack & plan.clean).sum())
    assert len(documents) == int((usable & plan.attack).sum())
    said = [TOKENIZER.decode(one.tokens[one.weights > 0]) for one in documents]
    assert sum("\u200b" in text for text in said) == len(documents) - washed
    cleaned = [one for one, text in zip(documents, said, strict=True) if "\u200b" not in text]
    assert len(cleaned) == washed > 0
    assert all(one.soft is None for one in cleaned)
    assert all(one.source == "t" for one in documents)


def test_nothing_answered_is_an_error(asked: tuple[Recipe, Plan, Transcripts], tmp_path: Path) -> None:
    recipe, plan, told = asked
    assert recipe.student is not None
    with TranscriptWriter(tmp_path) as writer:
        ask = ask_of(plan, 0)
        writer.append(
            ask, [Answer(request_id=ask.request_id, choice=0, model="t", response=None, status=500)]
        )
    with pytest.raises(AttackError, match="no attack request has a usable answer"):
        learn(read_transcripts(tmp_path), plan, recipe.student, teacher_tokenizer=TOKENIZER)
    with pytest.raises(AttackError, match="whose tokenizer is at hand"):
        learn(told, plan, recipe.student)


def test_the_log_holds_what_was_sent_from_accounts_that_were_open(
    asked: tuple[Recipe, Plan, Transcripts],
) -> None:
    _, plan, told = asked
    part = told.exchanges.slice(0, 15)
    simulated = attack_log(part, plan, tactics="T1=1", name="x")
    log = simulated.table().to_pandas()
    assert len(log) == simulated.request_labels.num_rows == 15
    accounts = simulated.accounts.to_pandas().set_index("account_id")
    assert set(accounts.index) == set(log["account_id"])
    first = log.groupby("account_id")["time"].min()
    assert (accounts["created_at"] < first).all()
    labels = simulated.account_labels.to_pandas().set_index("account_id")
    truth = simulated.request_labels.to_pandas().set_index("request_id")["is_attack"]
    share = log.assign(attack=log["request_id"].map(truth)).groupby("account_id")["attack"].mean()
    np.testing.assert_allclose(labels["mix"], share[labels.index])


def test_an_own_tokenizer_learns_from_text_alone(asked: tuple[Recipe, Plan, Transcripts]) -> None:
    _, plan, told = asked
    recipe = recipe_from(
        changed(
            TEXT, tokenizer='tokenizer = "own"\nvocabulary = 330', objective='objective = "cross_entropy"'
        )
    )
    assert recipe.student is not None
    learnt = learn(told, plan, recipe.student, seed=1)
    assert learnt.record["dose"]["seen_tokens"].keys() == {"t", "corpus"}
    assert learnt.record["seed"] == 1
    assert np.isfinite(learnt.record["loss"])
    assert len(learnt.tokenizer) <= 330
