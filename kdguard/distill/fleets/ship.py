"""Write what tests of lineage read: readings of all models in few files, weights of a few, and the manifest."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers

from kdguard.distill.fleets.build import texts_of
from kdguard.distill.fleets.probes import probes
from kdguard.distill.fleets.readings import documents_of_texts
from kdguard.distill.fleets.roster import Member, roster
from kdguard.distill.fleets.workshop import Workshop
from kdguard.distill.models import save_model
from kdguard.distill.transcripts.codec import PACKED
from kdguard.distill.transcripts.folder import write_tokens
from kdguard.distill.versions import versions
from kdguard.errors import TrainingError

MANIFEST_VERSION = 1
_LEVEL = 19


def ship(workshop: Workshop, models: Path, lineage: Path) -> dict[str, Any]:
    """Write everything from a finished workshop.

    Args:
        workshop: All of whose models are read.
        models: Folder for weights and manifest.
        lineage: Folder for readings, families and controls.

    Returns:
        The manifest.

    Raises:
        TrainingError: A model has not been read.
    """
    everyone = roster(workshop.recipe)
    missing = [member.name for member in everyone if not workshop.readings(member.name).exists()]
    if missing:
        raise TrainingError(
            f"{len(missing)} models are not read yet, e.g. '{missing[0]}'; finish the build first"
        )
    lineage.mkdir(parents=True, exist_ok=True)
    _readings(workshop, everyone, lineage)
    _asked(workshop, lineage)
    (lineage / "families.toml").write_text(families_toml(workshop.recipe.origins.teachers))
    with (lineage / "controls.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["teacher_family", "control", "kind"])
        writer.writerows(controls(everyone, workshop.recipe.origins.teachers))
    shipped = {name: _weights(workshop, name, models / name) for name in workshop.recipe.shipped}
    manifest = {
        "schema_version": MANIFEST_VERSION,
        "kind": "families",
        "name": workshop.recipe.name,
        "recipe_digest": workshop.recipe.digest,
        "recipe": workshop.recipe.model_dump(mode="json"),
        "made_by": {
            "kdguard": versions()["kdguard"],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "models": [_record(member, workshop, shipped) for member in everyone],
        "files": _files(models, lineage),
    }
    text = json.dumps(manifest, indent=1, sort_keys=True)
    with workshop.appearing(models / "manifest.json") as draft:
        draft.write_text(text + "\n")
    return dict(json.loads(text))


def controls(everyone: Sequence[Member], families: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    """Rows of the controls' table: family, model, and what kind of control it is for that family.

    `student_pool`: no teacher at all. `teacher_of_other_vendor`. `student_of_other_vendor`: descends from another
    family, or learnt its corpus. `tainted_same_vendor`: learnt this family's corpus, not from its teacher.
    """
    for family in families:
        for member in everyone:
            if member.role == "control":
                yield family, member.name, "student_pool"
            elif member.role == "base":
                continue
            elif family not in member.families:
                kind = "teacher_of_other_vendor" if member.role == "teacher" else "student_of_other_vendor"
                yield family, member.name, kind
            elif member.role == "tainted":
                yield family, member.name, "tainted_same_vendor"


def families_toml(families: Sequence[str]) -> str:
    """One table a family: the teacher is its only member, and its own vendor."""
    return "\n".join(f'[{name}]\nmembers = ["{name}"]\nvendor = "{name}"\n' for name in families)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _readings(workshop: Workshop, everyone: Sequence[Member], out: Path) -> None:
    folders = [workshop.readings(member.name) for member in everyone]
    for name in ("responses", "likelihoods"):
        table = pa.concat_tables([pq.read_table(folder / f"{name}.parquet") for folder in folders])
        if name == "responses":
            _write(table.drop_columns(["label"]), out / "responses.parquet")
            _write(table.select(["model", "prompt_id", "label"]), out / "labels.parquet")
        else:
            _write(table, out / "likelihoods.parquet")
    batches = (
        batch
        for folder in folders
        for batch in pq.read_table(folder / "tokens.parquet").cast(PACKED).to_batches()
    )
    write_tokens(batches, out / "tokens.parquet")


def _asked(workshop: Workshop, out: Path) -> None:
    _write(pa.Table.from_pylist([asdict(probe) for probe in probes(workshop.recipe)]), out / "probes.parquet")
    texts = texts_of(workshop)
    rated = [int((each.weights[1:] > 0).sum()) for each in documents_of_texts(texts, workshop.tokenizer)]
    rows = [asdict(text) | {"tokens": count} for text, count in zip(texts, rated, strict=True)]
    _write(pa.Table.from_pylist(rows), out / "texts.parquet")


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=_LEVEL, version="2.6")


def _weights(workshop: Workshop, name: str, folder: Path) -> str:
    tokenizer = workshop.tokenizer
    return save_model(workshop.model(name, tokenizer).half(), tokenizer, folder, overwrite=True)


def _record(member: Member, workshop: Workshop, shipped: dict[str, str]) -> dict[str, Any]:
    notes = workshop.notes(member.name)
    seen = notes.get("seen_tokens", {})
    total = sum(seen.values())
    return member.record() | {
        "parents": list(dict.fromkeys(member.needs)),
        "weights_sha256": workshop.weights_digest(member.name),
        "folder": member.name if member.name in shipped else None,
        "folder_digest": shipped.get(member.name),
        "dose_seen": sum(seen.get(name, 0) for name in member.asked) / total if total else None,
        "made": notes,
    }


def _files(models: Path, lineage: Path) -> dict[str, dict[str, Any]]:
    """Digest and size of every file, by its place below the folder that holds both."""
    root = models.parent
    found = [file for folder in (models, lineage) for file in sorted(folder.rglob("*")) if file.is_file()]
    return {
        file.relative_to(root).as_posix(): {"sha256": sha256_of(file), "bytes": file.stat().st_size}
        for file in found
        if file.name not in ("manifest.json", "README.md") and not file.name.startswith(".")
    }
