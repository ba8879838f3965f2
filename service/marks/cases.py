"""Cases of what a job found, kept with it until it is pruned, so that whoever may can have them signed.

A case of a watermark holds a suspect's words as numbers, and one of canaries names accounts: it lies encrypted.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from kdguard.audit.case import Case, case_as_json, case_from_json
from kdguard.ledger.canonical import canonical, parse, sha256
from kdguard.service.store.secrets import Secrets


def sealed(secrets: Secrets, job: str, cases: Mapping[str, Case]) -> dict[str, Any]:
    """Cases as a job keeps them, by what they are about."""
    told = {about: case_as_json(case) for about, case in cases.items()}
    wrapped = secrets.wrap(zlib.compress(canonical(told)), f"cases {job}")
    return {"cases": base64.b64encode(wrapped).decode()}


def opened(secrets: Secrets, job: str, kept: Mapping[str, Any]) -> dict[str, Case]:
    """What `sealed` made; empty where a job kept none."""
    if "cases" not in kept:
        return {}
    told = parse(zlib.decompress(secrets.unwrap(base64.b64decode(kept["cases"]), f"cases {job}")))
    return {about: case_from_json(case) for about, case in told.items()}


def sealed_answers(secrets: Secrets, job: str, lines: bytes) -> dict[str, Any]:
    """What a suspect answered, as a job keeps it."""
    return {"answers": base64.b64encode(secrets.wrap(zlib.compress(lines), f"answers {job}")).decode()}


def opened_answers(secrets: Secrets, job: str, kept: Mapping[str, Any]) -> bytes | None:
    """What `sealed_answers` took; None where a job kept none."""
    if "answers" not in kept:
        return None
    return zlib.decompress(secrets.unwrap(base64.b64decode(kept["answers"]), f"answers {job}"))


def lines_of(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a file that whoever sent them can write too: one JSON object a line, its names in order."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return b"".join(orjson.dumps(row, option=options) for row in rows)


def input_of(name: str, content: bytes) -> dict[str, Any]:
    """How a case cites what its numbers were read from."""
    return {"name": name, "sha256": sha256(content), "bytes": len(content)}
