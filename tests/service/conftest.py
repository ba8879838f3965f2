"""One tiny teacher behind a server for all tests of the API."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from kdguard.distill.teachers.local import LocalTeacher
from kdguard.service.teacher import TeacherSettings, create_teacher_app
from tests.distill import conftest  # one thread for torch
from tests.distill.teachers.tiny import llama, tokenizer
from tests.service import asking
from tests.service.serving import serving

__all__ = ["conftest"]


def tiny_teacher(*, chat: bool = True, seed: int = 21) -> LocalTeacher:
    return LocalTeacher(llama(seed=seed), tokenizer(chat=chat), name="tiny", rows=16)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    app = create_teacher_app(tiny_teacher(), TeacherSettings(most_tokens=64, most_body_bytes=100_000))
    with serving(app) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with asking.client(url) as made:
        yield made
