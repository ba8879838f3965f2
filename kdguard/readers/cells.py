"""One cell at a time: any JSON value to the type its column declares, or the rule that it breaks.

Choices that hold for every format:

* identifiers may be numbers (they become decimal text); an empty identifier is null, never an account "";
* NUL characters inside text are kept as they are; lone surrogates become U+FFFD;
* counts may be written as text or as whole floats; they must not be negative; ``max_tokens = -1`` means none;
* an empty text where no text is meant is null (exports write nulls so);
* a time is RFC 3339 (without a zone it is taken as UTC), or Unix seconds, milliseconds, microseconds or
  nanoseconds, told apart by size; it must fall in the years 2000 to 2100.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from kdguard.readers.dialects.content import conversation
from kdguard.readers.rejects import DEEP, Unfit

EARLIEST_US = 946_684_800_000_000  # 2000-01-01
LATEST_US = 4_133_980_800_000_000  # 2101-01-01, exclusive
INT64 = (-(2**63), 2**63 - 1)
_LONE = re.compile("[\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Cell = Callable[[str, Any], Any]


def shown(value: Any) -> str:
    """A short picture of a value for a message: numbers and short times as they are, the rest by type."""
    if isinstance(value, bool | int | float) or value is None:
        return repr(value)[:40]
    if isinstance(value, str):
        return repr(value) if len(value) <= 32 else f"text of {len(value)} characters"
    names: dict[type, str] = {dict: "an object", list: "a list"}
    return names.get(type(value), type(value).__name__)


def identifier(name: str, value: Any) -> str | None:
    """Text or a whole number as text; empty is null."""
    if isinstance(value, str):
        return _sound(value) or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Unfit(f"'{name}' must be text or a whole number", type(value).__name__)


def text(name: str, value: Any) -> str:
    """Text and nothing else."""
    if isinstance(value, str):
        return _sound(value)
    raise Unfit(f"'{name}' must be text", type(value).__name__)


def json_text(name: str, value: Any) -> str | None:
    """A value kept as compact JSON; text is kept as it is; absent, false and empty are null."""
    if isinstance(value, str):
        return _sound(value) or None
    if not value:
        return None
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        raise Unfit(DEEP, "deeper") from None


def whole(low: int, high: int) -> Cell:
    """Make a cell for whole numbers in [low, high]."""

    def cell(name: str, value: Any) -> int | None:
        rule = f"'{name}' must be a whole number in [{low}, {high}]"
        number = value
        if isinstance(number, str):
            try:
                number = int(number) if len(number) <= 20 else number
            except ValueError:
                raise Unfit(rule, shown(value)) from None
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int):
            raise Unfit(rule, shown(value))
        if number == -1 and name == "max_tokens":
            return None
        if not low <= number <= high:
            raise Unfit(rule, shown(value))
        return number

    return cell


def real(low: float, high: float) -> Cell:
    """Make a cell for finite numbers in [low, high]."""

    def cell(name: str, value: Any) -> float:
        rule = f"'{name}' must be a finite number" + ("" if low == -math.inf else f" in [{low:g}, {high:g}]")
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise Unfit(rule, shown(value)) from None
        if not math.isfinite(number) or not low <= number <= high:
            raise Unfit(rule, shown(value))
        return number

    return cell


def flag(name: str, value: Any) -> bool:
    """True or false, also as 0/1 and as text."""
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false", "0", "1"):
        return value.lower() in ("true", "1")
    raise Unfit(f"'{name}' must be true or false", shown(value))


def moment(name: str, value: Any) -> int:
    """A time as microseconds since 1970 in UTC."""
    rule = f"'{name}' must be RFC 3339 or Unix time in the years 2000 to 2100"
    if isinstance(value, str):
        value = _from_text(value.strip(), rule)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        micros = (aware - _EPOCH) // timedelta(microseconds=1)
        if EARLIEST_US <= micros < LATEST_US:
            return micros
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        for scale in (1_000_000, 1000, 1):
            if EARLIEST_US <= value * scale < LATEST_US:
                return round(value * scale)
        if EARLIEST_US <= value / 1000 < LATEST_US:
            return int(value) // 1000
    raise Unfit(rule, shown(value) if not isinstance(value, datetime) else value.isoformat())


def messages(name: str, value: Any) -> list[dict[str, str | None]] | None:
    """A conversation as role and text, oldest first."""
    if isinstance(value, list):
        return conversation(value) or None
    raise Unfit(f"'{name}' must be a list of messages", type(value).__name__)


def label_probs(name: str, value: Any) -> list[dict[str, Any]]:
    """Label probabilities, given as an object or as a list of {label, prob}."""
    if isinstance(value, dict):
        value = [{"label": label, "prob": prob} for label, prob in value.items()]
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Unfit(f"'{name}' must be an object or a list of label and prob", type(value).__name__)
    share = real(0.0, 1.0)
    return [
        {"label": identifier(name, entry.get("label")), "prob": share(name, entry.get("prob"))}
        for entry in value
    ]


def _sound(value: str) -> str:
    return value if value.isascii() else _LONE.sub("\N{REPLACEMENT CHARACTER}", value)


def _from_text(value: str, rule: str) -> datetime | float | int:
    try:
        return int(value) if len(value) <= 20 and value.isdigit() else float(value)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value.removesuffix(" UTC"))
    except ValueError:
        raise Unfit(rule, shown(value)) from None
