"""Prompts to ask suspects, teachers and controls: a set written for kdguard, or the user's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from kdguard.errors import LineageError
from kdguard.lineage.order import order_digest, place_in_order
from kdguard.lineage.tables import read_frame

SHIPPED_VERSION = 1
_COLUMNS = ("prompt_id", "prompt")


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt.

    Attributes:
        prompt_id: Unique in its set.
        prompt: What is asked, one user turn.
        kind: Kind of task, e.g. `advice`; empty = not told.
        language: ISO 639-1 code of the prompt; empty = not told.
    """

    prompt_id: str
    prompt: str
    kind: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Prompts under one name and version.

    Attributes:
        name: `kdguard` for the shipped set, else the user's file.
        version: Of the shipped set; 0 for the user's own.
        probes: In the file's order.
    """

    name: str
    version: int
    probes: tuple[Probe, ...]

    def __len__(self) -> int:
        return len(self.probes)

    @property
    def digest(self) -> str:
        """SHA-256 of the prompts, whatever file held them."""
        return _digest(self.probes)

    def drawn(self, seed: int, count: int | None = None) -> tuple[Probe, ...]:
        """The first prompts in the order of a public seed.

        Args:
            seed: Public, fixed before anything is asked.
            count: Prompts wanted; None = all.

        Raises:
            LineageError: The set has fewer.
        """
        if count is not None and not 1 <= count <= len(self):
            raise LineageError(f"a draw must be of 1 to {len(self)} prompts of this set, got {count}")
        return tuple(sorted(self.probes, key=lambda one: place_in_order(seed, one.prompt_id)))[:count]

    def committed(self, seed: int, count: int | None = None) -> dict[str, Any]:
        """What to commit to before asking, as `kdguard audit commit --parameters` takes it."""
        drawn = self.drawn(seed, count)
        return {
            "probe_set": self.name,
            "probe_set_version": self.version,
            "probe_set_digest": self.digest,
            "seed": seed,
            "queries": len(drawn),
            "draw_digest": _digest(drawn),
            "order_digest": order_digest([one.prompt_id for one in drawn]),
        }


def shipped_probes() -> ProbeSet:
    """The set that kdguard ships."""
    file = resources.files(__name__).joinpath(f"probes-{SHIPPED_VERSION}.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return ProbeSet("kdguard", SHIPPED_VERSION, _probes(rows, "shipped probes"))


def read_probes(path: Path) -> ProbeSet:
    """Read the user's own prompts: `prompt_id, prompt`, optionally `kind, language`, from Parquet, CSV or JSON lines.

    Raises:
        LineageError: It cannot be read, lacks a column, has an empty prompt, or an id or a prompt twice.
    """
    frame = read_frame(path, _COLUMNS)
    return ProbeSet(path.name, 0, _probes(frame.to_dict("records"), str(path)))


def _probes(rows: Sequence[Mapping[Any, Any]], name: str) -> tuple[Probe, ...]:
    probes = tuple(
        Probe(
            str(row["prompt_id"]),
            "" if row["prompt"] is None else str(row["prompt"]),
            str(row.get("kind") or ""),
            str(row.get("language") or ""),
        )
        for row in rows
    )
    if not probes:
        raise LineageError(f"{name}: must have at least one prompt, got none")
    ids: set[str] = set()
    asked: dict[str, str] = {}
    for probe in probes:
        if not probe.prompt.strip():
            raise LineageError(f"{name}: prompt '{probe.prompt_id}' is empty")
        if probe.prompt_id in ids:
            raise LineageError(f"{name}: two prompts have the id '{probe.prompt_id}'; ids must be unique")
        if probe.prompt.strip() in asked:
            raise LineageError(
                f"{name}: '{asked[probe.prompt.strip()]}' and '{probe.prompt_id}' are the same prompt; an answer "
                "must not count twice, leave one of them out"
            )
        ids.add(probe.prompt_id)
        asked[probe.prompt.strip()] = probe.prompt_id
    return probes


def _digest(probes: Sequence[Probe]) -> str:
    digest = hashlib.sha256()
    for probe in probes:
        digest.update(
            json.dumps(asdict(probe), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        )
        digest.update(b"\n")
    return digest.hexdigest()


__all__ = ["SHIPPED_VERSION", "Probe", "ProbeSet", "read_probes", "shipped_probes"]
