"""What most formats share: an envelope around one request body and one response body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kdguard.readers.dialects.answers import answers
from kdguard.readers.dialects.ask import ask
from kdguard.readers.dialects.chunks import assembled
from kdguard.readers.dialects.content import first, unwrapped
from kdguard.readers.reader import Row


def exchanges(request: Any, response: Any, row: Row) -> Iterator[Row]:
    """Combine what the envelope, the request and the response say; the envelope knows best.

    Args:
        request: Request body, decoded or as JSON text (also encoded twice); None if it was not logged.
        response: Response body, likewise; a list of chunks if it was streamed.
        row: Raw values that the envelope gave.

    Yields:
        One row a choice.
    """
    answered = unwrapped(response)
    answered = assembled(answered) if isinstance(answered, list) else answered
    known = {name: value for name, value in row.items() if value is not None}
    body = unwrapped(request)
    if isinstance(body, str) and body.lstrip()[:1] in ("{", "["):
        known.setdefault("truncated", True)  # a body that stops before its end; its text is not guessed
    if isinstance(answered, str) and answered.lstrip()[:2] == '{"' and answered.rstrip()[-1] not in "}]":
        known.setdefault("truncated", True)  # likewise, and its text is kept as it came
    asked = ask(body)
    from_response = {
        "request_id": first(answered, "id", "responseId"),
        "time": first(answered, "created", "created_at"),
        "model": first(answered, "model", "modelVersion"),
    }
    shared = {name: value for name, value in from_response.items() if value is not None} | asked | known
    choices = answers(answered)
    if isinstance(response, str) and response and choices == [{}]:
        choices = [{"response": response}]  # an answer that happens to be JSON, not a body
    for choice in choices:
        yield shared | choice | {name: known[name] for name in _COUNTED if name in known}


_COUNTED = ("input_tokens", "output_tokens", "refused", "finish_reason")


def spent_ms(start: Any, end: Any) -> float | None:
    """Milliseconds between two Unix times in nanoseconds, numbers or text; None if either is missing."""
    try:
        return max(0.0, (int(end) - int(start)) / 1e6)
    except (TypeError, ValueError):
        return None
