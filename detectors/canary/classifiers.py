"""Epochs of marks for classifiers, keyed triggers or a keyed sinusoid: what is committed, and the file that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kdguard.detectors.canary.triggers import LARGEST_SHARE
from kdguard.errors import CanaryError
from kdguard.ledger.canonical import canonical, parse_any
from kdguard.ledger.derivation import DerivedKey, KeyName
from kdguard.ledger.entries import commitment
from kdguard.ledger.keys import Generation

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """Keyed wrong labels on a few queries.

    Attributes:
        labels: Labels of the classifier.
        share: Share of an account's queries that are triggers.
    """

    labels: int
    share: float = LARGEST_SHARE

    def __post_init__(self) -> None:
        if self.labels < 2 or not 0 < self.share <= LARGEST_SHARE:
            raise CanaryError(
                f"triggers need at least 2 labels and a share in (0, {LARGEST_SHARE}], got {self.labels} and "
                f"{self.share:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinusoid:
    """A keyed wave on one label's probability.

    Attributes:
        label: Place of the label among the probabilities.
        size: Largest move as a share of what there is to move.
        frequency: Radians a unit of the features' projection.
        width: Public features of a query, see `text_features`.
    """

    label: int = 0
    size: float = 0.05
    frequency: float = 4.0
    width: int = 16

    def __post_init__(self) -> None:
        if self.label < 0 or not 0 < self.size < 1 or self.width < 1 or not self.frequency > 0:
            raise CanaryError(
                "a sinusoid needs label >= 0, size in (0, 1), frequency > 0 and width >= 1, got "
                f"{self.label}, {self.size:g}, {self.frequency:g} and {self.width}"
            )


Form = Triggers | Sinusoid
_FORMS: Mapping[str, type[Triggers | Sinusoid]] = {"triggers": Triggers, "sinusoid": Sinusoid}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierPlan:
    """An epoch of one form of mark.

    Attributes:
        epoch: Its name.
        generation: Number of the master key that its keys come from.
        form: Which mark.
        accounts: Whose answers are marked.
    """

    epoch: str
    generation: int
    form: Form
    accounts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.accounts:
            raise CanaryError("there are no accounts to mark; give a table with a column account_id")

    @property
    def kind(self) -> str:
        """Name of the form; with `canary.` before it, of its test."""
        return next(name for name, form in _FORMS.items() if isinstance(self.form, form))

    @property
    def parameters(self) -> dict[str, Any]:
        """What is committed to with every account's key."""
        return asdict(self.form) | {"accounts": len(self.accounts), "epoch": self.epoch}

    def key(self, keys: Generation, account: str) -> DerivedKey:
        """The key of an account.

        Raises:
            CanaryError: It is not marked in this epoch, or the keys are of another generation.
        """
        if account not in self.accounts:
            raise CanaryError(f"account {account!r} is not marked in epoch {self.epoch}")
        if keys.number != self.generation:
            raise CanaryError(f"keys must be of generation {self.generation}, got {keys.number}")
        return keys.derive(KeyName(self.kind, account, self.epoch))

    def commitments(self, keys: Generation, moment: datetime) -> list[dict[str, Any]]:
        """One ledger entry an account."""
        return [commitment(self.key(keys, account), self.parameters, moment) for account in self.accounts]


def write_classifier_plan(plan: ClassifierPlan, path: Path) -> None:
    """Write a plan; it holds no secret but who is marked."""
    told = {
        "kind": f"kdguard.{plan.kind}",
        "schema_version": SCHEMA_VERSION,
        "epoch": plan.epoch,
        "generation": plan.generation,
        "form": asdict(plan.form),
        "accounts": list(plan.accounts),
    }
    path.write_bytes(canonical(told))


def read_classifier_plan(path: Path, kind: str) -> ClassifierPlan:
    """Read what `write_classifier_plan` wrote.

    Raises:
        CanaryError: Another file, or of another version.
    """
    try:
        told = parse_any(path.read_bytes())
        if (told["kind"], told["schema_version"]) != (f"kdguard.{kind}", SCHEMA_VERSION):
            raise CanaryError(f"{path}: must be a plan of {kind}, schema version {SCHEMA_VERSION}")
        return ClassifierPlan(
            epoch=told["epoch"],
            generation=told["generation"],
            form=_FORMS[kind](**told["form"]),
            accounts=tuple(told["accounts"]),
        )
    except (KeyError, TypeError, OSError) as error:
        raise CanaryError(f"{path}: must be a file that 'kdguard canary {kind} plan' wrote") from error


def plan_classifier(keys: Generation, epoch: str, form: Form, accounts: Sequence[str]) -> ClassifierPlan:
    """Plan an epoch for some accounts, each once."""
    return ClassifierPlan(
        epoch=epoch, generation=keys.number, form=form, accounts=tuple(sorted(set(accounts)))
    )
