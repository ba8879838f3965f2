"""The sites of an epoch: which canary forms about which subjects. The epoch's key chooses; accounts' keys answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.canary.claims import site_row
from kdguard.detectors.canary.forms import INSERTIONS, REWRITINGS, Form, Insertion
from kdguard.errors import CanaryError
from kdguard.ledger.draws import words

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Site:
    """One place for a canary, the same for all accounts of an epoch.

    Attributes:
        site_id: 16 hex digits.
        form: How it is written and read.
        subject: What it is about; empty for a rewriting.
    """

    site_id: str
    form: Form
    subject: str

    @property
    def cue(self) -> str:
        """What to ask a suspect; empty if every answer is read."""
        return self.form.cue.format(subject=self.subject) if isinstance(self.form, Insertion) else ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of each field."""
        return tuple(field.size for field in self.form.fields)

    @property
    def row(self) -> str:
        """How it is committed to."""
        return site_row(self.site_id, self.form.family, self.sizes)

    def mark(self, prompt: str, response: str, drawn: Sequence[int]) -> str | None:
        """The response with this canary, or None where it has no place."""
        return self.form.mark(self.subject, prompt, response, drawn)


def epoch_sites(key: bytes, count: int, families: Sequence[str]) -> tuple[Site, ...]:
    """Choose the sites of an epoch: all rewritings of the families, then `count` insertions in turn.

    Args:
        key: The epoch's key, 32 bytes. Whoever has it knows the cues, not the replies.
        count: Number of insertions.
        families: Names of forms.

    Raises:
        CanaryError: An unknown family, or more sites than there are subjects.
    """
    forms: tuple[Form, ...] = (*INSERTIONS, *REWRITINGS)
    known = {form.family for form in forms}
    if not families or set(families) - known:
        raise CanaryError(
            f"families must be some of {', '.join(sorted(known))}; got {', '.join(families) or 'none'}"
        )
    rewritings = [form for form in REWRITINGS if form.family in families]
    sites = [_site(key, form, str(place)) for place, form in enumerate(rewritings)]
    subjects = {form: _shuffled(key, form) for form in INSERTIONS if form.family in families}
    sites += [_site(key, form, subject) for form, subject in _in_turn(subjects, count)]
    return tuple(sites)


def read_answers(sites: Sequence[Site], answers: Iterable[tuple[str, str]]) -> tuple[list[list[int]], int]:
    """Read a suspect's answers.

    Args:
        sites: Of the epoch.
        answers: Site id of the cue, and the answer. Rewritings are read from every answer, whatever the site id.

    Returns:
        Rows (choice, value, count), where choices number the fields of all sites; and how many answers belonged to one.
    """
    firsts = np.concatenate([[0], np.cumsum([len(site.sizes) for site in sites])]).tolist()
    places = {site.site_id: place for place, site in enumerate(sites)}
    always = [place for place, site in enumerate(sites) if not isinstance(site.form, Insertion)]
    counts: dict[tuple[int, int], int] = {}
    asked = 0
    for site_id, answer in answers:
        place = places.get(site_id)
        asked += place is not None
        for read in [*always, *([] if place is None or place in always else [place])]:
            for field, value in sites[read].form.read(answer):
                seen = (firsts[read] + field, value)
                counts[seen] = counts.get(seen, 0) + 1
    return [[*seen, count] for seen, count in sorted(counts.items())], asked


def flat_sizes(sites: Sequence[Site]) -> Ints:
    """Sizes of all choices of all sites, shape (c,)."""
    return np.array([size for site in sites for size in site.sizes], np.int64)


def _site(key: bytes, form: Form, subject: str) -> Site:
    """A site id is keyed: subjects are a short public list, and a bundle must not tell the cues of the epoch."""
    site_id = int(words(key, ["canary", "site", form.family, subject], 1)[0])
    return Site(f"{site_id:016x}", form, subject)


def _shuffled(key: bytes, form: Insertion) -> list[str]:
    order = np.argsort(words(key, ["canary", "subjects", form.family], len(form.subjects)), kind="stable")
    return [form.subjects[place] for place in order.tolist()]


def _in_turn(subjects: Mapping[Insertion, list[str]], count: int) -> list[tuple[Insertion, str]]:
    left = {form: list(names) for form, names in subjects.items()}
    chosen: list[tuple[Insertion, str]] = []
    while len(chosen) < count:
        if not any(left.values()):
            raise CanaryError(f"these families have {len(chosen)} subjects, {count} sites were asked for")
        chosen += [(form, names.pop(0)) for form, names in left.items() if names]
    return chosen[:count]
