"""What one key says of one subject, whichever test was asked: a tail that decoys must back, and what it means."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from kdguard.detectors.watermark.decoys import Decoys
from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention, Evidence, Guarantee

VERSION: Final = "1"
MEANING: Final = (
    "H0: the key is independent of this text. Rejecting it proves contact with text marked by the key, "
    "not who took it or why"
)
NO_EVIDENCE: Final = "no evidence of the mark, which is no evidence of its absence: marks can be washed out"
_DIGITS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(ABC):
    """What one key says of one subject.

    Attributes:
        kind: Name of the test, before the scheme's.
        subject: Whose text, or the suspect.
        scheme: The mark looked for, with its parameters.
        tokens: Tokens of the text, or places where a suspect was read.
        decoys: The decoys' own account, or None if none were asked for.
        committed: The key was committed to before its first use.
        account: Whose key it is; empty for one key for all.
        among: Accounts that have such a key.
    """

    kind: ClassVar[str]
    subject: str
    scheme: Scheme
    tokens: int
    decoys: Decoys | None
    committed: bool
    account: str = ""
    among: int = 1

    @property
    def title(self) -> str:
        """The subject, and the account where its key is one of several."""
        return titled(self.subject, self.account, self.among)

    @property
    @abstractmethod
    def scored(self) -> int:
        """Tokens that count."""

    @property
    @abstractmethod
    def z(self) -> float:
        """Standard deviations above the mean over keys."""

    @property
    @abstractmethod
    def log10_tail(self) -> float:
        """log10 of the exact tail, whatever decoys say."""

    @property
    @abstractmethod
    def left_out(self) -> str:
        """What does not count, for a person."""

    @property
    @abstractmethod
    def told(self) -> str:
        """What was counted and how far out it lies, for a person."""

    @property
    @abstractmethod
    def tail_told(self) -> str:
        """The tail, for a person, where decoys back it."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """What a line of `--json` tells beyond what all verdicts do."""

    @property
    def log10_p(self) -> float | None:
        """log10 of the exact tail; None where decoys speak against it."""
        return None if self.decoys is not None and self.decoys.distrust else self.log10_tail

    @property
    def p_value(self) -> float:
        """The exact tail's p, or the decoys' where it is withheld."""
        if self.decoys is not None and self.log10_p is None:
            return self.decoys.p_value
        # rounded upwards: the last digits differ between computers
        return float(10.0 ** min(0.0, math.ceil(self.log10_tail * 10**_DIGITS) / 10**_DIGITS))

    @property
    def p_floor(self) -> float:
        """Least p that could have come out: no exact tail has one."""
        return 0.0 if self.log10_p is not None or self.decoys is None else self.decoys.p_floor

    @property
    def guarantee(self) -> Guarantee:
        """Randomised only if the key was committed to and its decoys were asked."""
        return Guarantee.RANDOMISED if self.committed and self.decoys is not None else Guarantee.DESCRIPTIVE

    @property
    def summary(self) -> str:
        """A sentence a person can check, with the null hypothesis."""
        if self.decoys is not None and self.decoys.distrust:
            tail = (
                f"p {self.p_value:.2g} by {self.decoys.count} decoy keys; the exact tail is withheld: "
                f"{self.decoys.distrust}"
            )
        else:
            tail = self.tail_told
        return f"{self.told}, z {self.z:.2f}, {tail}. {MEANING}"

    def detected(self, alpha: float) -> bool:
        """Whether H0 is rejected at a level."""
        return self.p_value <= alpha

    def evidence(self, p_adjusted: float | None = None) -> Evidence:
        """As the house's common currency; the score is z, p adjusted where several subjects were searched."""
        return Evidence(
            detector=f"{self.kind}.{self.scheme.name}",
            version=VERSION,
            subject=self.title,
            guarantee=self.guarantee,
            score=round(self.z, _DIGITS),
            p_value=self.p_value if p_adjusted is None else p_adjusted,
            p_floor=self.p_floor,
            n=self.scored,
            summary=self.summary,
            parameters_digest=parameters_digest(self.scheme),
        )

    def to_json(self) -> dict[str, Any]:
        """As one line of `--json`."""
        decoys = self.decoys
        return {
            "subject": self.subject,
            **({} if self.among == 1 else {"account": self.account, "among_accounts": self.among}),
            "scheme": self.scheme.record(),
            "tokens": self.tokens,
            **self.details(),
            "z": round(self.z, 4),
            "p_value": self.p_value,
            "log10_p": self.log10_p,
            "p_floor": self.p_floor,
            "decoys": None if decoys is None else decoys.to_json(),
            "committed": self.committed,
            "guarantee": self.guarantee.value,
            "summary": self.summary,
            "parameters_digest": parameters_digest(self.scheme),
        }


def parameters_digest(scheme: Scheme) -> str:
    """SHA-256 of the scheme and its parameters."""
    return hashlib.sha256(json.dumps(scheme.record(), sort_keys=True).encode()).hexdigest()


def check_key(scheme: Scheme, key: MarkKey) -> None:
    """Refuse a key of the wrong length.

    Raises:
        WatermarkError: The scheme takes another number of words.
    """
    if len(key.words) != scheme.key_words:
        raise WatermarkError(
            f"a key of '{scheme.name}' has {scheme.key_words} numbers, this one has {len(key.words)}"
        )


def titled(subject: str, account: str, among: int) -> str:
    """A subject, and the account where its key is one of several."""
    return subject if among == 1 else f"{subject}, account {account}"


def abstention(kind: str, scheme: Scheme, key: MarkKey, subject: str, reason: str) -> Abstention:
    """Why a test says nothing of a subject."""
    title = titled(subject, key.account, key.among)
    return Abstention(detector=f"{kind}.{scheme.name}", subject=title, reason=reason)
