"""What is known of a mark: a description in the database, and a plan or a tokenizer in a file beside.

A plan tells cues and whom they were shown to, so it lies encrypted under the master key. Of canaries only what `canary
verify` reads is kept: the plan's description, from which cues and replies are derived again by whoever has the key.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.detectors.canary import planning as canaries
from kdguard.detectors.twins import planning as twins
from kdguard.detectors.watermark.mark import Mark, tokenizer_digest
from kdguard.detectors.watermark.reading import load_tokenizer
from kdguard.errors import InputError, WatermarkError
from kdguard.ledger.keys import KeyStore
from kdguard.service.ingest.journal import sync_folder
from kdguard.service.store.secrets import Secrets

MarkKind = Literal["watermark", "canary", "twins"]
KINDS: tuple[MarkKind, ...] = ("watermark", "canary", "twins")
CHECKED: Mapping[str, MarkKind] = {
    "watermark": "watermark",
    "radioactivity": "watermark",
    "canary": "canary",
    "twins": "twins",
}
"""Kinds of checks, and of the marks that they look for."""
_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class MarkFiles:
    """Files of a tenant's marks.

    Attributes:
        root: The tenant's folder.
        tenant: Who.
        secrets: What seals plans.
    """

    root: Path
    tenant: str
    secrets: Secrets

    @contextmanager
    def written(self, content: bytes, name: str) -> Iterator[Path]:
        """A file for its owner's eyes only, which is gone afterwards; errors about it do not tell where it lay.

        Raises:
            InputError: As raised while it was open.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self.root, prefix="open-") as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            try:
                yield path
            except InputError as error:
                raise InputError(str(error).replace(str(path), name)) from error

    def put(self, kind: MarkKind, name: str, content: bytes) -> None:
        """Seal the file of a mark, durably."""
        path = self._path(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(self.secrets.wrap(content, self._bound(kind, name)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)

    @contextmanager
    def opened(self, kind: MarkKind, name: str) -> Iterator[Path]:
        """The file of a mark, while it is needed."""
        content = self.secrets.unwrap(self._path(kind, name).read_bytes(), self._bound(kind, name))
        with self.written(content, _TOKENIZER if kind == "watermark" else "plan.parquet") as path:
            yield path

    def drop(self, kind: MarkKind, name: str) -> None:
        """Remove the file of a mark, if it has one."""
        self._path(kind, name).unlink(missing_ok=True)

    def _path(self, kind: MarkKind, name: str) -> Path:
        return self.root / "marks" / kind / f"{name}.sealed"

    def _bound(self, kind: MarkKind, name: str) -> str:
        return f"mark {self.tenant} {kind} {name}"


def canary_plan(path: Path, keys: KeyStore) -> tuple[bytes, dict[str, Any]]:
    """What is kept of a canaries file, and what is told of it.

    Raises:
        CanaryError: It is none, or was planned with other keys.
    """
    plan = canaries.read_plan(path, keys.generation(canaries.plan_generation(path)))
    sink = pa.BufferOutputStream()
    pq.write_table(pq.read_schema(path).empty_table(), sink)
    told = {"epoch": plan.epoch, "generation": plan.generation, "accounts": len(plan.marked)}
    return sink.getvalue().to_pybytes(), told | {"sites": len(plan.sites), "families": list(plan.families)}


def twins_plan(path: Path, keys: KeyStore) -> tuple[bytes, dict[str, Any]]:
    """What is kept of a twins file, and what is told of it.

    Raises:
        TwinsError: It is none, or was changed.
        LedgerError: Its generation of keys is not here.
    """
    plan = twins.read_plan(path)
    keys.generation(plan.generation)
    told = {"epoch": plan.epoch, "generation": plan.generation, "accounts": len(plan.sites)}
    return path.read_bytes(), told | {"sites": len(plan.answers)}


def fitting_tokenizer(path: Path, mark: Mark) -> str:
    """The digest of a mark's tokenizer.

    Raises:
        WatermarkError: It is no tokenizer, or not the one the mark is written in.
    """
    digest = tokenizer_digest(load_tokenizer(path))
    if mark.tokenizer_sha256 not in (None, digest):
        raise WatermarkError(
            f"the mark is written in the ids of tokenizer {str(mark.tokenizer_sha256)[:16]}, this is {digest[:16]}"
        )
    return digest
