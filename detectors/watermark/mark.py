"""The public description of a mark: what is committed to with `kdguard audit commit --parameters`, secrets apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from kdguard.detectors.watermark.keys import MarkKey, derived_key
from kdguard.detectors.watermark.schemes.registry import make_scheme
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.errors import WatermarkError

LEDGER_SCHEME = "watermark"
"""Name under which the ledger derives and commits keys of all these marks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A scheme, the tokenizer whose ids it is written in, and how many accounts write it with keys of their own.

    Attributes:
        scheme: With its parameters.
        tokenizer_sha256: From `tokenizer_digest`; None = not told, and a wrong tokenizer cannot be noticed by it.
        accounts: Accounts that have a key of their own; 1 = one key for all. It is committed to, and whoever is named
            is named among so many.

    Raises:
        WatermarkError: Fewer than one account.
    """

    scheme: Scheme
    tokenizer_sha256: str | None = None
    accounts: int = 1

    def __post_init__(self) -> None:
        if type(self.accounts) is not int or self.accounts < 1:
            raise WatermarkError(f"a mark's accounts must be a whole number from 1, got {self.accounts!r}")

    def parameters(self) -> dict[str, Any]:
        """As plain values: what a commitment is made to."""
        told = {} if self.tokenizer_sha256 is None else {"tokenizer_sha256": self.tokenizer_sha256}
        shared = {} if self.accounts == 1 else {"accounts": self.accounts}
        return self.scheme.record() | told | shared

    def key_of(self, secret: bytes, account: str = "") -> MarkKey:
        """The key that secret bytes give, as an account's.

        Raises:
            WatermarkError: Fewer than 16 bytes.
        """
        key = derived_key(secret, self.scheme.key_words, self.scheme.key_bits)
        return replace(key, account=account, among=self.accounts)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """From plain values.

        Raises:
            WatermarkError: No scheme is named, or a parameter is unknown.
        """
        told = dict(parameters)
        name, digest = told.pop("scheme", None), told.pop("tokenizer_sha256", None)
        accounts = told.pop("accounts", 1)
        if not isinstance(name, str):
            raise WatermarkError('a mark must name its scheme: {"scheme": "green-siphash", …}')
        return cls(make_scheme(name, told), digest, accounts)


def read_mark(path: Path) -> Mark:
    """Read a mark from a JSON file.

    Raises:
        WatermarkError: It is not a JSON object, or not a mark.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WatermarkError(f"{path}: must be a JSON file that describes a mark: {error}") from error
    if not isinstance(told, dict):
        raise WatermarkError(f"{path}: must hold one JSON object, got {type(told).__name__}")
    return Mark.of(told)


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 of what decides a tokenizer's ids: its model, as `tokenizers` writes it, keys in order."""
    told = json.loads(tokenizer.to_str())
    decides = {name: told.get(name) for name in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
