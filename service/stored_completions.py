"""Completions that clients asked to be kept, listed as the OpenAI API lists them, each account its own."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kdguard.errors import TeacherError


class Kept(NamedTuple):
    """One stored completion.

    Attributes:
        account_id: Whose it is.
        body: The chat completion, with its metadata.
        messages: What was asked.
    """

    account_id: str
    body: dict[str, Any]
    messages: list[dict[str, Any]]


class StoredCompletions:
    """Kept in memory, and in a file of JSON lines if one is given.

    A line is the completion with the `messages` beside it, as the reader `openai-stored` takes it, and the
    `account_id`.

    Args:
        path: The file; read if it exists.

    Raises:
        TeacherError: The file cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._kept: dict[str, Kept] = {}
        if path is not None and path.exists():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                kept = _parsed(line, f"{path}:{number}")
                self._kept[kept.body["id"]] = kept

    def add(self, account_id: str, body: Mapping[str, Any], messages: list[dict[str, Any]]) -> None:
        """Keep a completion; `body` has its metadata."""
        kept = Kept(account_id, dict(body), messages)
        with self._lock:
            self._kept[body["id"]] = kept
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(_line(kept))

    def get(self, account_id: str, request_id: str) -> Kept | None:
        """One completion of an account."""
        kept = self._kept.get(request_id)
        return kept if kept is not None and kept.account_id == account_id else None

    def list(
        self,
        account_id: str,
        *,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "asc",
    ) -> dict[str, Any]:
        """A page of an account's completions, by time.

        Args:
            account_id: Whose.
            model: Only of this model.
            metadata: Only with all of these labels.
            after: Id of the last one of the page before.
            limit: Most of a page.
            order: Oldest or newest first.

        Raises:
            LookupError: `after` is not among them.
        """
        with self._lock:
            found = [kept.body for kept in self._kept.values() if kept.account_id == account_id]
        found = [
            body
            for body in found
            if (model is None or body["model"] == model)
            and all((body.get("metadata") or {}).get(key) == value for key, value in (metadata or {}).items())
        ]
        found = found if order == "asc" else found[::-1]
        start = 0
        if after is not None:
            places = [at for at, body in enumerate(found) if body["id"] == after]
            if not places:
                raise LookupError(after)
            start = places[0] + 1
        page = found[start : start + limit]
        return page_of(page, has_more=start + limit < len(found))

    def update(self, account_id: str, request_id: str, metadata: dict[str, str] | None) -> Kept | None:
        """Change the metadata of a completion."""
        with self._lock:
            kept = self.get(account_id, request_id)
            if kept is not None:
                kept.body["metadata"] = metadata
                self._rewrite()
            return kept

    def delete(self, account_id: str, request_id: str) -> bool:
        """Forget a completion; whether there was one."""
        with self._lock:
            found = self.get(account_id, request_id) is not None
            if found:
                del self._kept[request_id]
                self._rewrite()
            return found

    def _rewrite(self) -> None:
        if self._path is None:
            return
        handle, unfinished = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(_line(kept) for kept in self._kept.values())
        os.replace(unfinished, self._path)


def page_of(page: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A list object of the API."""
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": has_more,
    }


def _line(kept: Kept) -> str:
    return json.dumps(kept.body | {"messages": kept.messages, "account_id": kept.account_id}) + "\n"


def _parsed(line: str, place: str) -> Kept:
    try:
        body = json.loads(line)
        messages, account_id = body.pop("messages"), body.pop("account_id")
        return Kept(
            str(account_id), {"id": str(body["id"]), "model": str(body["model"])} | body, list(messages)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TeacherError(f"{place}: not a stored completion: {type(error).__name__}") from error
