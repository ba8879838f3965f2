"""Completions that clients asked to be kept, listed as the OpenAI API lists them, each account its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kdguard.errors import TeacherError
from kdguard.service.private_files import append_lines, append_private, replace_private


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
        TeacherError: The file cannot be read or written, or a line of it is no completion.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._kept: dict[str, Kept] = {}
        if path is None:
            return
        if path.exists():
            self._read(path)
        append_private(path).close()  # an unusable place is told now, not to the first client

    def add(self, account_id: str, body: Mapping[str, Any], messages: list[dict[str, Any]]) -> None:
        """Keep a completion; `body` has its metadata.

        Raises:
            TeacherError: The disk is full; the completion is not kept.
        """
        kept = Kept(account_id, dict(body), messages)
        with self._lock:
            if self._path is not None:
                with append_private(self._path) as file:
                    append_lines(file, _line(kept).encode(), self._path)
            self._kept[body["id"]] = kept

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
            if kept is None:
                return None
            changed = kept._replace(body=kept.body | {"metadata": metadata})
            self._rewrite(self._kept | {request_id: changed})
            return changed

    def delete(self, account_id: str, request_id: str) -> bool:
        """Forget a completion; whether there was one."""
        with self._lock:
            if self.get(account_id, request_id) is None:
                return False
            self._rewrite({name: kept for name, kept in self._kept.items() if name != request_id})
            return True

    def _rewrite(self, kept: dict[str, Kept]) -> None:
        """Put others in place of what is kept: first in the file, so that both say the same if that fails."""
        if self._path is not None:
            replace_private(self._path, "".join(map(_line, kept.values())))
        self._kept = kept

    def _read(self, path: Path) -> None:
        try:
            *lines, torn = path.read_bytes().split(b"\n")
        except OSError as error:
            raise TeacherError(f"{path}: cannot be read: {error.strerror}") from error
        parsed = [_parsed(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
        self._kept = {kept.body["id"]: kept for kept in parsed}
        if torn:  # the process was killed while it wrote this line
            self._rewrite(self._kept)


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


def _parsed(line: bytes, place: str) -> Kept:
    try:
        body = json.loads(line)
        messages, account_id = body.pop("messages"), body.pop("account_id")
        return Kept(
            str(account_id), {"id": str(body["id"]), "model": str(body["model"])} | body, list(messages)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TeacherError(f"{place}: not a stored completion: {type(error).__name__}") from error
