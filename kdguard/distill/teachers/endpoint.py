"""Any OpenAI-compatible endpoint as a teacher, through the `openai` SDK.

The SDK repeats what may succeed later (no connection, 408, 409, 429, 5xx) with growing pauses and obeys
`Retry-After` up to two minutes. What still fails becomes an answer that says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import openai

from kdguard.distill.teachers.bounded_response import hooks
from kdguard.distill.teachers.endpoint_body import read_body, request_body
from kdguard.distill.teachers.pacing import Pace
from kdguard.distill.teachers.permission import check_address
from kdguard.distill.teachers.protocol import BAD_ANSWER, CHAT, TIMED_OUT, UNREACHABLE, Answer, Ask, failed
from kdguard.errors import TeacherError

_BYTES_A_TOKEN = 3  # a low guess of English, so that the count of tokens is rather too high


class EndpointTeacher:
    """Asks an endpoint, several requests at a time.

    Redirects are not followed, and on loopback no proxy of the environment is used: what was permitted is where
    requests go.

    Args:
        base_url: Address of the API, with its version: `http://127.0.0.1:8000/v1`.
        model: Model to ask for.
        api_key: Key for asks whose account has none of its own.
        keys: Keys by account id.
        owned: Declares whose endpoint it is, see `permission`.
        permission: Declares who permits its use, see `permission`.
        concurrency: Requests under way at once.
        pace: Limits a minute; none if None.
        timeout_s: Seconds that one try may take, see `bounded_response`.
        retries: Tries after the first.
        limit_name: Chat parameter for the limit on tokens: `max_tokens`, or `max_completion_tokens`.
        clock: Seconds, for `latency_ms`.

    Raises:
        TeacherError: The address may not be used, or a setting is out of range.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "none",
        keys: Mapping[str, str] | None = None,
        owned: str | None = None,
        permission: str | None = None,
        concurrency: int = 8,
        pace: Pace | None = None,
        timeout_s: float = 60.0,
        retries: int = 5,
        limit_name: str = "max_tokens",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.permission = check_address(base_url, owned=owned, permission=permission)
        if concurrency < 1 or retries < 0 or not timeout_s > 0:
            raise TeacherError(
                f"concurrency must be at least 1, retries at least 0 and timeout_s above 0, "
                f"got {concurrency}, {retries} and {timeout_s}"
            )
        self.name, self._model, self._concurrency = f"{model}@{self.permission.address}", model, concurrency
        self._keys, self._limit_name = dict(keys or {}), limit_name
        self._pace, self._clock = pace or Pace(), clock
        self._client = openai.OpenAI(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout_s,
            max_retries=retries,
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False,
                trust_env=not self.permission.loopback,
                timeout=timeout_s,
                event_hooks=hooks(timeout_s),
            ),
        )

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer asks in the order in which the server does."""
        source = iter(asks)
        stopped = threading.Event()
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="teacher")
        under_way: set[Future[list[Answer]]] = set()
        try:
            while True:
                # none is sent before the answers that are here were taken: a kill loses no more than is under way
                while len(under_way) < self._concurrency and (ask := next(source, None)) is not None:
                    under_way.add(pool.submit(self._one, ask, stopped))
                if not under_way:
                    return
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        finally:  # also when the caller stops listening: requests under way end, queued ones are not sent
            stopped.set()
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _one(self, ask: Ask, stopped: threading.Event) -> list[Answer]:
        """Send one request; whatever happens becomes an answer."""
        self._pace.wait(token_estimate(ask))
        if stopped.is_set():
            return []
        began = self._clock()

        def spent() -> float:
            return (self._clock() - began) * 1e3

        def refused(status: int, reason: str) -> list[Answer]:
            return [failed(ask, self._model, status=status, error=reason, latency_ms=spent())]

        try:
            content = self._send(ask)
        except openai.APITimeoutError:
            return refused(TIMED_OUT, "timeout")
        except openai.APIConnectionError as error:
            return refused(UNREACHABLE, f"connection_error: {type(error.__cause__ or error).__name__}")
        except openai.APIStatusError as error:
            return refused(error.status_code, _reason(error))
        except TeacherError as error:
            return refused(BAD_ANSWER, f"too_large: {error}")
        except (openai.OpenAIError, ValueError, TypeError) as error:
            return refused(400, f"{type(error).__name__}: {error}")
        return read_body(content, ask, self._model, latency_ms=spent())

    def _send(self, ask: Ask) -> bytes:
        client = self._client
        if ask.account_id is not None and ask.account_id in self._keys:
            client = client.with_options(api_key=self._keys[ask.account_id])
        body: dict[str, Any] = request_body(ask, self._model, limit_name=self._limit_name)
        api = client.chat.completions if ask.endpoint == CHAT else client.completions
        response = api.with_raw_response.create(**body)
        content: bytes = response.http_response.content
        return content


def token_estimate(ask: Ask) -> int:
    """Tokens that a request may take, prompt and answer, guessed from its bytes."""
    size = sum(len(turn.content.encode()) for turn in ask.messages) + len(ask.tools or "")
    return size // _BYTES_A_TOKEN + ask.n * ask.max_tokens


def _reason(error: openai.APIStatusError) -> str:
    """Type or code, and the message, as the body has them."""
    body = error.body if isinstance(error.body, dict) else {}
    kind = body.get("code") or body.get("type") or "error"
    return f"{kind}: {body.get('message') or error.message}"[:500]
