"""The public description of a mark: what is committed to with `kdguard audit commit --parameters`, secrets apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kdguard.detectors.watermark.schemes.registry import make_scheme
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.errors import WatermarkError

LEDGER_SCHEME = "watermark"
"""Name under which the ledger derives and commits keys of all these marks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A scheme, and the tokenizer whose ids it is written in.

    Attributes:
        scheme: With its parameters.
        tokenizer_sha256: From `tokenizer_digest`; None = not told, and a wrong tokenizer cannot be noticed by it.
    """

    scheme: Scheme
    tokenizer_sha256: str | None = None

    def parameters(self) -> dict[str, Any]:
        """As plain values: what a commitment is made to."""
        told = {} if self.tokenizer_sha256 is None else {"tokenizer_sha256": self.tokenizer_sha256}
        return self.scheme.record() | told

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """From plain values.

        Raises:
            WatermarkError: No scheme is named, or a parameter is unknown.
        """
        told = dict(parameters)
        name, digest = told.pop("scheme", None), told.pop("tokenizer_sha256", None)
        if not isinstance(name, str):
            raise WatermarkError('a mark must name its scheme: {"scheme": "green-siphash", …}')
        return cls(make_scheme(name, told), digest)


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
