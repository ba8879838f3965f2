"""One service for the tests that do not change how it is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scoring_service.running import Running, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service") / "data") as made:
        yield made
