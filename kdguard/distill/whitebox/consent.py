"""A declaration of owning the teacher, without which nothing here runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from kdguard.errors import OwnershipError

_KEYS = ("teacher", "owner", "owned")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerConsent:
    """Somebody declared to own the teacher and to allow a look inside it.

    Attributes:
        teacher: Name or digest of the model, as the manifest has it.
        owner: Who declares it: a person or an organisation.

    Raises:
        OwnershipError: one of them is empty.
    """

    teacher: str
    owner: str

    def __post_init__(self) -> None:
        for name in ("teacher", "owner"):
            if not getattr(self, name).strip():
                raise OwnershipError(f"A declaration of ownership must name its {name!r}, got an empty text.")

    def covers(self, teacher: str) -> None:
        """Raise OwnershipError unless the declaration is about this teacher."""
        if teacher != self.teacher:
            raise OwnershipError(
                f"The declaration of ownership is about {self.teacher!r}, not about {teacher!r}. "
                "Declare ownership of the teacher that is used."
            )

    def as_manifest(self) -> dict[str, str]:
        """The declaration as kept in a run's manifest."""
        return asdict(self)


def consent_from(declaration: Mapping[str, object] | None) -> OwnerConsent:
    """Read the declaration of a recipe: its table `ownership` with `teacher`, `owner` and `owned = true`.

    Raises:
        OwnershipError: no declaration, an unknown or missing key, or `owned` is anything but true.
    """
    if declaration is None:
        raise OwnershipError(
            "White-box objectives need a declaration of ownership. If the teacher is yours, add to the recipe: "
            '[ownership] teacher = "NAME", owner = "WHO", owned = true.'
        )
    unknown = sorted(set(declaration) - set(_KEYS))
    missing = sorted(set(_KEYS) - set(declaration))
    if unknown or missing:
        raise OwnershipError(
            f"A declaration of ownership holds exactly {', '.join(_KEYS)}; unknown: {unknown}, missing: {missing}."
        )
    if declaration["owned"] is not True:
        raise OwnershipError(
            f"'owned' must be true to look inside the teacher, got {declaration['owned']!r}."
        )
    return OwnerConsent(teacher=_text(declaration, "teacher"), owner=_text(declaration, "owner"))


def require_consent(owner_consent: OwnerConsent | None, objective: str) -> None:
    """Raise OwnershipError unless consent was given; every entry of this package begins with it."""
    if not isinstance(owner_consent, OwnerConsent):
        raise OwnershipError(
            f"{objective} looks inside the teacher and needs 'owner_consent', an OwnerConsent built from a recipe's "
            f"declaration by consent_from(), got {owner_consent!r}."
        )


def _text(declaration: Mapping[str, object], name: str) -> str:
    value = declaration[name]
    if not isinstance(value, str):
        raise OwnershipError(f"{name!r} must be a text, got {value!r}.")
    return value
