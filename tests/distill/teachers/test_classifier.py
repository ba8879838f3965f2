"""Classifiers that tell all, something, or only the label."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kdguard.distill.teachers.classifier import (
    ClassifierTeacher,
    sklearn_classifier,
    torch_classifier,
    written,
)
from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.errors import TeacherError

X, Y = load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def digits() -> LogisticRegression:
    return LogisticRegression(max_iter=300, tol=0.01).fit(X[:600] / 16, Y[:600])


def asks(rows: Any) -> list[Ask]:
    return [Ask(request_id=str(at), prompt=written(row)) for at, row in enumerate(rows)]


def told(teacher: ClassifierTeacher, rows: Any) -> list[Answer]:
    return sorted(teacher.answer(asks(rows)), key=lambda answer: int(answer.request_id))


def test_probabilities_are_those_of_the_estimator(digits: LogisticRegression) -> None:
    teacher = sklearn_classifier(digits, name="digits", inputs="features")
    rows = X[600:900] / 16
    wanted = digits.predict_proba(rows)
    for answer, row in zip(told(teacher, rows), wanted, strict=True):
        assert answer.label_probs is not None
        assert answer.response == answer.label == str(row.argmax())
        assert dict(answer.label_probs) == {str(at): pytest.approx(value) for at, value in enumerate(row)}
        assert [prob for _, prob in answer.label_probs] == sorted(row, reverse=True)


@pytest.mark.parametrize("tell", ["all", "rounded", "top", "label"])
def test_no_more_is_told_than_the_owner_chose(digits: LogisticRegression, tell: Any) -> None:
    teacher = sklearn_classifier(digits, name="digits", inputs="features", tell=tell, decimals=1)
    rows = X[600:620] / 16
    wanted, shown = digits.predict_proba(rows), teacher.probabilities(rows)
    assert shown.argmax(axis=1).tolist() == wanted.argmax(axis=1).tolist()
    answers = told(teacher, rows)
    count = {"all": 10, "rounded": 10, "top": 1, "label": 0}[tell]
    assert {len(answer.label_probs or ()) for answer in answers} == {count}
    for answer, row in zip(answers, shown, strict=True):
        for label, prob in answer.label_probs or ():
            assert prob == pytest.approx(row[int(label)])
            assert tell != "rounded" or round(prob, 1) == prob
    if tell == "label":
        assert set(np.unique(shown)) == {0.0, 1.0}


def test_text_goes_through_a_pipeline() -> None:
    texts, labels = ["good fine", "fine", "bad awful", "awful"], ["up", "up", "down", "down"]
    teacher = sklearn_classifier(
        make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, labels), name="mood"
    )
    [answer] = teacher.answer([Ask(request_id="a", prompt="so awful")])
    assert answer.label == "down"


def test_a_torch_module_answers_with_its_softmax() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5))
    teacher = torch_classifier(module, ["a", "b", "c", "d"], name="net")
    rows = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, -1.0]])
    wanted = module[0](torch.tensor(rows, dtype=torch.float32)).softmax(-1).detach().numpy()
    for answer, row in zip(told(teacher, rows), wanted, strict=True):
        assert dict(answer.label_probs or ()) == {
            name: pytest.approx(value, rel=1e-5) for name, value in zip("abcd", row.tolist(), strict=True)
        }


@pytest.mark.parametrize(
    "prompt", ["", "hello", "[1, 2", "{}", '["a"]', "[[1]]", "[1, NaN]", "[1, 2]", "[" * 9999]
)
def test_bad_features_are_an_answer_that_says_so(digits: LogisticRegression, prompt: str) -> None:
    teacher = sklearn_classifier(digits, name="digits", inputs="features")
    good = Ask(request_id="good", prompt=written(X[0] / 16))
    found = {one.request_id: one for one in teacher.answer([Ask(request_id="bad", prompt=prompt), good])}
    assert found["bad"].status == 400
    assert found["bad"].error
    assert found["good"].status == 200


def test_what_is_no_classifier_is_refused(digits: LogisticRegression) -> None:
    with pytest.raises(TeacherError, match="predict_proba"):
        sklearn_classifier(LogisticRegression(), name="unfitted")
    with pytest.raises(TeacherError, match="two or more"):
        ClassifierTeacher(lambda rows: rows, ["only"], name="x")
    with pytest.raises(TeacherError, match="tell must be"):
        sklearn_classifier(digits, name="x", tell="everything")
    broken = ClassifierTeacher(lambda rows: [[2.0, 3.0]] * len(rows), ["a", "b"], name="x")
    with pytest.raises(TeacherError, match="probabilities"):
        broken.probabilities(["text"])
    [answer] = broken.answer([Ask(request_id="a", prompt=json.dumps("text"))])
    assert answer.status == 400
