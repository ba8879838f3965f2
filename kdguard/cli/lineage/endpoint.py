"""How an endpoint is reached, as the options of `ask` and `test` tell it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdguard.errors import LineageError

if TYPE_CHECKING:
    from kdguard.distill.teachers.endpoint import EndpointTeacher


@dataclass(frozen=True, kw_only=True)
class Reach:
    """An endpoint, who may ask it, and how fast.

    Attributes:
        url: Of the API, with its version.
        model: To ask for.
        key_variable: Environment variable that holds the key; None = no key.
        owned: Whose it is, where it is the user's own.
        permission: Who permits asking, where it is not.
        requests_per_minute: Most; None = no limit.
        concurrency: Requests under way at once.
    """

    url: str
    model: str
    key_variable: str | None
    owned: str | None
    permission: str | None
    requests_per_minute: float | None
    concurrency: int

    @contextmanager
    def opened(self) -> Iterator[EndpointTeacher]:
        """The endpoint to ask, closed afterwards.

        Raises:
            LineageError: The key is not set.
            TeacherError: The address may not be used.
        """
        key = os.environ.get(self.key_variable, "") if self.key_variable else "none"
        if not key:
            raise LineageError(
                f"the environment variable '{self.key_variable}' must hold the API key; it is not set"
            )
        from kdguard.distill.teachers.endpoint import EndpointTeacher
        from kdguard.distill.teachers.pacing import Pace

        asked = EndpointTeacher(
            self.url,
            self.model,
            api_key=key,
            owned=self.owned,
            permission=self.permission,
            concurrency=self.concurrency,
            pace=Pace(requests_per_minute=self.requests_per_minute),
        )
        try:
            yield asked
        finally:
            asked.close()
