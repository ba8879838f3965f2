"""How an endpoint is reached: where it is, who may ask it, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdguard.distill.teachers.endpoint import EndpointTeacher


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """An endpoint that may be asked.

    Attributes:
        url: Address of the API, with its version.
        model: Model to ask for.
        key: API key; "none" where it needs none.
        owned, permission: Who declares what, see `kdguard.distill.teachers.permission`.
        requests_per_minute: Most requests; None = as many as go.
        concurrency: Requests under way at once.
        timeout_s: Seconds that one try may take.
        retries: Tries after the first.
    """

    url: str
    model: str
    key: str = field(default="none", repr=False)
    owned: str | None = None
    permission: str | None = None
    requests_per_minute: float | None = None
    concurrency: int = 8
    timeout_s: float = 60.0
    retries: int = 5

    @contextmanager
    def opened(self) -> Iterator[EndpointTeacher]:
        """The endpoint to ask, closed afterwards.

        Raises:
            TeacherError: The address may not be used.
        """
        from kdguard.distill.teachers.endpoint import EndpointTeacher
        from kdguard.distill.teachers.pacing import Pace

        asked = EndpointTeacher(
            self.url,
            self.model,
            api_key=self.key,
            owned=self.owned,
            permission=self.permission,
            concurrency=self.concurrency,
            pace=Pace(requests_per_minute=self.requests_per_minute),
            timeout_s=self.timeout_s,
            retries=self.retries,
        )
        try:
            yield asked
        finally:
            asked.close()
