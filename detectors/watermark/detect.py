"""Does text bear the mark of a key? An exact tail, held against decoy keys before it is believed.

H0, for a key K: given the text as it is, K is independent of it. Rejecting H0 proves contact with text marked by K,
directly or through others. It does not tell who collected that text, or why; and where H0 stands, nothing is proven:
marks can be washed out (paraphrase, targeted removal), so absence of evidence is all that is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.decoys import Decoys
from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.schemes.scheme import Floats, Null, Scheme
from kdguard.detectors.watermark.verdict import Verdict, abstention, check_key
from kdguard.detectors.watermark.windows import Codes, Ints, Selected, Texts, identities, select, windows_of
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection(Verdict):
    """What one key says of one subject's text.

    Attributes:
        scored: Tokens that count.
        repeated: Tokens left out because window, or window and token, came before.
        copied: Tokens left out because prompts hold them.
        z: Standard deviations above the mean over keys.
        log10_tail: log10 of the exact tail.
    """

    kind: ClassVar[str] = "watermark"
    scored: int
    repeated: int
    copied: int
    z: float
    log10_tail: float

    @property
    def left_out(self) -> str:
        """See `Verdict`."""
        return f"; {self.repeated} repeated and {self.copied} copied from prompts left out"

    @property
    def told(self) -> str:
        """See `Verdict`."""
        return f"{self.scored} of {self.tokens} tokens count"

    @property
    def tail_told(self) -> str:
        """See `Verdict`."""
        return f"p 10^{self.log10_tail:.2f} by the exact tail"

    def details(self) -> dict[str, Any]:
        """See `Verdict`."""
        return {"scored": self.scored, "repeated": self.repeated, "copied": self.copied}


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
    kept = what_counts(scheme, texts, subjects=subjects, count=len(names), prompts=prompts)
    return judge(scheme, key, kept, names=names, decoys=decoys, committed=committed)


def what_counts(
    scheme: Scheme,
    texts: Texts,
    *,
    subjects: Ints | None = None,
    count: int = 1,
    prompts: Texts | None = None,
) -> Selected:
    """The tokens that may be scored; no key is looked at. Arguments as for `detect`, `count` subjects."""
    if subjects is not None and len(subjects) and subjects.max() >= count:
        raise WatermarkError(f"every subject needs a name: got {count} names, and subject {subjects.max()}")
    # a copy's first tokens would stand behind incomplete windows, which the prompt does not show
    padded = scheme.padded and prompts is None
    windows = windows_of(texts, scheme.width, padded=padded, subjects=subjects)
    identity = identities(windows, scheme.sources(windows), scheme.repeats)
    copied = None if prompts is None else prompt_identities(scheme, prompts)
    of_text = np.zeros(len(texts.starts) - 1, np.int64) if subjects is None else subjects
    tokens = np.bincount(of_text, np.diff(texts.starts), count).astype(np.int64)
    return select(windows, identity, subjects=count, copied=copied)._replace(tokens=tokens)


def judge(
    scheme: Scheme,
    key: MarkKey,
    kept: Selected,
    *,
    names: Sequence[str] = ("text",),
    decoys: int = 999,
    committed: bool = False,
) -> tuple[Detection | Abstention, ...]:
    """Score what counts. Arguments, result and errors as for `detect`."""
    check_key(scheme, key)
    null = scheme.null(kept.windows, len(names))
    own = null.totals(key.words[None])
    z, log10_tail, scored = null.z(own)[0], null.log10_tail(own)[0], own.scored[0]
    asked = _ask_decoys(null, key.decoys(decoys, scheme.key_bits), z) if decoys else [None] * len(names)
    return tuple(
        Detection(
            subject=name,
            scheme=scheme,
            tokens=int(kept.tokens[at]),
            scored=int(scored[at]),
            repeated=int(kept.repeated[at]),
            copied=int(kept.copied[at]),
            z=float(z[at]),
            log10_tail=float(log10_tail[at]),
            decoys=told,
            committed=committed,
            account=key.account,
            among=key.among,
        )
        if scored[at]
        else _nothing_to_score(scheme, key, name, int(kept.tokens[at]))
        for at, (name, told) in enumerate(zip(names, asked, strict=True))
    )


def prompt_identities(scheme: Scheme, prompts: Texts) -> Codes:
    """What prompts hold, to be left out of what is scored; without repeats, in rising order."""
    windows = windows_of(prompts, scheme.width, padded=False)
    return np.unique(identities(windows, scheme.sources(windows), scheme.repeats))


def _nothing_to_score(scheme: Scheme, key: MarkKey, name: str, tokens: int) -> Abstention:
    reason = (
        f"none of {tokens} tokens can be scored: give text of more than {scheme.width} tokens that does not come from "
        "the prompts"
    )
    return abstention(Detection.kind, scheme, key, name, reason)


def _ask_decoys(null: Null, keys: npt.NDArray[np.uint64], z: Floats) -> list[Decoys]:
    others = null.z(null.totals(keys))
    return [Decoys.of(column, float(own)) for column, own in zip(others.T, z, strict=True)]
