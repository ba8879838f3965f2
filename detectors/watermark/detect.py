"""Does text bear the mark of a key? An exact tail, held against decoy keys before it is believed.

H0, for a key K: given the text as it is, K is independent of it. Rejecting H0 proves contact with text marked by K,
directly or through others. It does not tell who collected that text, or why; and where H0 stands, nothing is proven:
marks can be washed out (paraphrase, targeted removal), so absence of evidence is all that is reported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.schemes.scheme import Floats, Null, Scheme
from kdguard.detectors.watermark.windows import Codes, Ints, Texts, identities, select, windows_of
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention, Evidence, Guarantee

VERSION: Final = "1"
FEWEST_BACKING: Final = 199
_SPREAD: Final = 0.1
_SHIFT: Final = 0.2
_ERRORS: Final = 3.0  # standard errors that few decoys are given on top

MEANING: Final = (
    "H0: the key is independent of this text. Rejecting it proves contact with text marked by the key, "
    "not who took it or why"
)
NO_EVIDENCE: Final = "no evidence of the mark, which is no evidence of its absence: marks can be washed out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoys:
    """How keys that marked nothing score on the same tokens.

    Attributes:
        count: Decoy keys, M.
        p_value: (1 + decoys that score at least as high) / (M + 1); holds whatever the text looks like.
        z_mean: Mean of the decoys' z; 0 where the tail is right.
        z_sd: Their standard deviation; 1 where the tail is right.
    """

    count: int
    p_value: float
    z_mean: float
    z_sd: float

    @property
    def distrust(self) -> str | None:
        """Why the exact tail cannot be relied on, or None."""
        if self.count < FEWEST_BACKING:
            return f"{self.count} decoy keys are too few to back it, at least {FEWEST_BACKING} are needed"
        spread = max(_SPREAD, _ERRORS / (2 * self.count) ** 0.5)
        shift = max(_SHIFT, _ERRORS / self.count**0.5)
        if abs(self.z_sd - 1) > spread or abs(self.z_mean) > shift:
            return f"decoy keys score with mean {self.z_mean:+.2f} and spread {self.z_sd:.2f} in place of 0 and 1"
        return None

    @classmethod
    def of(cls, others: Floats, own: float) -> Self:
        """From the decoys' z, shape (M,), and the key's own; ties count against us."""
        # equal totals may differ in the last digit
        hits = int((others >= own - 1e-9 * (1 + abs(own))).sum())
        return cls(
            count=len(others),
            p_value=(1 + hits) / (len(others) + 1),
            z_mean=float(others.mean()),
            z_sd=float(others.std()),
        )

    def to_json(self) -> dict[str, Any]:
        """As part of a line of `--json`."""
        return asdict(self) | {"distrust": self.distrust}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What one key says of one subject's text.

    Attributes:
        subject: Whose text.
        scheme: The mark looked for, with its parameters.
        tokens: Tokens of the text.
        scored: Tokens that count.
        repeated: Tokens left out because window, or window and token, came before.
        copied: Tokens left out because prompts hold them.
        z: Standard deviations above the mean over keys.
        log10_p: log10 of the exact tail; None where decoys speak against it.
        decoys: The decoys' own account, or None if none were asked for.
        committed: The key was committed to before its first use.
    """

    subject: str
    scheme: Scheme
    tokens: int
    scored: int
    repeated: int
    copied: int
    z: float
    log10_p: float | None
    decoys: Decoys | None
    committed: bool

    @property
    def p_value(self) -> float:
        """The exact tail's p, or the decoys' where it is withheld."""
        if self.log10_p is not None:
            return float(10.0**self.log10_p)
        return self.decoys.p_value if self.decoys is not None else 1.0

    @property
    def p_floor(self) -> float:
        """Least p that could have come out: no exact tail has one."""
        return 0.0 if self.log10_p is not None or self.decoys is None else 1 / (self.decoys.count + 1)

    @property
    def left_out(self) -> str:
        """What does not count, for a person."""
        return f"; {self.repeated} repeated and {self.copied} copied from prompts left out"

    @property
    def guarantee(self) -> Guarantee:
        """Randomised only if the key was committed to and its decoys were asked."""
        asked = self.decoys is not None and (self.log10_p is None or self.decoys.distrust is None)
        return Guarantee.RANDOMISED if self.committed and asked else Guarantee.DESCRIPTIVE

    @property
    def summary(self) -> str:
        """A sentence a person can check, with the null hypothesis."""
        told = f"{self.scored} of {self.tokens} tokens count, z {self.z:.2f}, "
        if self.log10_p is not None:
            told += f"p 10^{self.log10_p:.2f} by the exact tail"
        elif self.decoys is not None:
            told += (
                f"p {self.p_value:.2g} by {self.decoys.count} decoy keys; the exact tail is withheld: "
                f"{self.decoys.distrust}"
            )
        return f"{told}. {MEANING}"

    def detected(self, alpha: float) -> bool:
        """Whether H0 is rejected at a level."""
        return self.p_value <= alpha

    def evidence(self) -> Evidence:
        """As the house's common currency; the score is z."""
        return Evidence(
            detector=f"watermark.{self.scheme.name}",
            version=VERSION,
            subject=self.subject,
            guarantee=self.guarantee,
            score=self.z,
            p_value=self.p_value,
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
            "scheme": self.scheme.record(),
            "tokens": self.tokens,
            "scored": self.scored,
            "repeated": self.repeated,
            "copied": self.copied,
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


def detect(
    scheme: Scheme,
    key: MarkKey,
    texts: Texts,
    *,
    names: Sequence[str] = ("text",),
    subjects: Ints | None = None,
    prompts: Texts | None = None,
    decoys: int = 999,
    committed: bool = False,
) -> tuple[Detection | Abstention, ...]:
    """Look for a key's mark in the text of every subject; a subject's texts are pooled, repeats across them count once.

    Args:
        scheme: The mark.
        key: The key.
        texts: m texts, without their prompts.
        names: Names of the s subjects.
        subjects: Which subject each text is of, shape (m,); all of the only one if None.
        prompts: Prompts the texts answer: what they hold is not scored.
        decoys: Decoy keys, M. 0 asks none, and backs nothing.
        committed: The key was committed to before its first use, and the commitment was checked.

    Returns:
        One a subject, in the order of `names`; an abstention where no token can be scored.

    Raises:
        WatermarkError: Subjects that have no name, a key of the wrong length, or token ids a vocabulary does not have.
    """
    count = len(names)
    _check(scheme, key, subjects, count)
    # a copy's first tokens would stand behind incomplete windows, which the prompt does not show
    padded = scheme.padded and prompts is None
    windows = windows_of(texts, scheme.width, padded=padded, subjects=subjects)
    identity = identities(windows, scheme.sources(windows), scheme.repeats)
    copied = None if prompts is None else prompt_identities(scheme, prompts)
    kept = select(windows, identity, subjects=count, copied=copied)
    null = scheme.null(kept.windows, count)
    own = null.totals(key.words[None])
    z, log10_p, scored = null.z(own)[0], null.log10_tail(own)[0], own.scored[0]
    told = _ask_decoys(null, key.decoys(decoys, scheme.key_bits), z) if decoys else [None] * count
    of_text = np.zeros(len(texts.starts) - 1, np.int64) if subjects is None else subjects
    tokens = np.bincount(of_text, np.diff(texts.starts), count).astype(np.int64)
    return tuple(
        Detection(
            subject=name,
            scheme=scheme,
            tokens=int(tokens[at]),
            scored=int(scored[at]),
            repeated=int(kept.repeated[at]),
            copied=int(kept.copied[at]),
            z=float(z[at]),
            log10_p=None if asked is not None and asked.distrust else float(log10_p[at]),
            decoys=asked,
            committed=committed,
        )
        if scored[at]
        else _abstention(scheme, name, int(tokens[at]))
        for at, (name, asked) in enumerate(zip(names, told, strict=True))
    )


def prompt_identities(scheme: Scheme, prompts: Texts) -> Codes:
    """What prompts hold, to be left out of what is scored; without repeats, in rising order."""
    windows = windows_of(prompts, scheme.width, padded=False)
    return np.unique(identities(windows, scheme.sources(windows), scheme.repeats))


def parameters_digest(scheme: Scheme) -> str:
    """SHA-256 of the scheme and its parameters."""
    return hashlib.sha256(json.dumps(scheme.record(), sort_keys=True).encode()).hexdigest()


def _check(scheme: Scheme, key: MarkKey, subjects: Ints | None, names: int) -> None:
    if len(key.words) != scheme.key_words:
        raise WatermarkError(
            f"a key of '{scheme.name}' has {scheme.key_words} numbers, this one has {len(key.words)}"
        )
    if subjects is not None and len(subjects) and subjects.max() >= names:
        raise WatermarkError(f"every subject needs a name: got {names} names, and subject {subjects.max()}")


def _abstention(scheme: Scheme, name: str, tokens: int) -> Abstention:
    return Abstention(
        detector=f"watermark.{scheme.name}",
        subject=name,
        reason=f"none of {tokens} tokens can be scored: give text of more than {scheme.width} tokens that does not "
        "come from the prompts",
    )


def _ask_decoys(null: Null, keys: npt.NDArray[np.uint64], z: Floats) -> list[Decoys]:
    others = null.z(null.totals(keys))
    return [Decoys.of(column, float(own)) for column, own in zip(others.T, z, strict=True)]
