"""Classifiers as they are met: a folder of weights, a table of answers, an address. Nothing is unpickled."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from kdguard.distill.teachers.permission import check_address
from kdguard.errors import LineageError
from kdguard.lineage.tables import read_frame

Floats = npt.NDArray[np.float64]

_BATCH = 256
_MOST_BYTES = 64 << 20
_TIMEOUT_S = 60.0


@dataclass(frozen=True, eq=False)
class Answered:
    """What a classifier said.

    Attributes:
        probabilities: Shape (q, c), one-hot where only labels are told; a row of NaN where a query has no answer.
        tells_probabilities: Whether they are more than labels.
    """

    probabilities: Floats
    tells_probabilities: bool


class Classifier(Protocol):
    """Anything that labels rows."""

    def ask(self, queries: Floats, names: Sequence[str]) -> Answered:
        """Answer queries (q, d) in terms of the labels `names`.

        Raises:
            LineageError: Its labels are others, or it cannot be asked.
        """
        ...


@dataclass(frozen=True)
class Folder:
    """A network of one hidden layer as `kdguard simulate attack` leaves it: config.json and model.safetensors."""

    path: Path

    def ask(self, queries: Floats, names: Sequence[str]) -> Answered:
        """Its probabilities."""
        try:
            config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            weights = {
                name: np.asarray(value, np.float64)
                for name, value in load_file(self.path / "model.safetensors").items()
            }
            hidden = np.maximum(queries @ weights["0.weight"].T + weights["0.bias"], 0)
            scores = hidden @ weights["2.weight"].T + weights["2.bias"]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise LineageError(
                f"{self.path}: must hold config.json and model.safetensors of a classifier of {queries.shape[1]} "
                f"features with one hidden layer: {error}"
            ) from error
        told = config.get("labels") or list(range(scores.shape[1]))
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return Answered(
            _by_name(raised / raised.sum(axis=1, keepdims=True), told, names, str(self.path)), True
        )


@dataclass(frozen=True)
class Table:
    """Answers that were collected elsewhere: `query_id`, `label`, and `p_LABEL` for each label where they are told."""

    path: Path

    def ask(self, queries: Floats, names: Sequence[str]) -> Answered:
        """What the table says."""
        frame = (
            read_frame(self.path, ("query_id", "label"), types={"label": str})
            .drop_duplicates("query_id")
            .set_index("query_id")
        )
        strange = sorted({str(label) for label in frame["label"].dropna()} - set(names))
        if strange:
            raise LineageError(
                f"{self.path}: label {strange[0]!r} is none of the {len(names)} labels of the data: "
                f"{', '.join(names[:8])}; the suspect answers another question"
            )
        columns = [f"p_{name}" for name in names]
        tells = all(column in frame.columns for column in columns)
        answered = frame[frame["label"].notna() & frame.index.isin(range(len(queries)))]
        found = np.full((len(queries), len(names)), np.nan)
        found[answered.index.to_numpy(np.int64)] = (
            answered[columns].to_numpy(np.float64)
            if tells
            else np.eye(len(names))[[list(names).index(label) for label in answered["label"]]]
        )
        return Answered(found, tells)


@dataclass(frozen=True)
class Address:
    """A classifier behind HTTP that speaks the predict protocol of KServe V1 and TensorFlow Serving.

    It is sent `{"instances": [[...], ...]}` and answers `{"predictions": [...]}`: labels, or lists of probabilities in
    the order of the labels.
    """

    url: str
    owned: str | None = None
    permission: str | None = None

    def ask(self, queries: Floats, names: Sequence[str]) -> Answered:
        """Ask in batches."""
        check_address(self.url, owned=self.owned, permission=self.permission)
        said = [
            one
            for start in range(0, len(queries), _BATCH)
            for one in self._batch(queries[start : start + _BATCH])
        ]
        tells = bool(said) and all(isinstance(one, list) for one in said)
        if tells:
            widths = {len(one) for one in said}
            if widths != {len(names)}:
                raise LineageError(
                    f"{self.url}: must tell {len(names)} probabilities, tells {sorted(widths)}"
                )
            return Answered(np.array(said, np.float64), True)
        strange = [str(one) for one in said if str(one) not in names]
        if strange:
            raise LineageError(
                f"{self.url}: label {strange[0]!r} is none of those of the data: {', '.join(names[:8])}"
            )
        places = [list(names).index(str(one)) for one in said]
        return Answered(np.eye(len(names))[places], False)

    def _batch(self, queries: Floats) -> list[Any]:
        body = json.dumps({"instances": queries.tolist()}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                told = json.loads(answer.read(_MOST_BYTES))["predictions"]
        except (urllib.error.URLError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise LineageError(
                f"{self.url}: must answer with JSON predictions, got {type(error).__name__}: {error}"
            ) from error
        if not isinstance(told, list) or len(told) != len(queries):
            raise LineageError(f"{self.url}: must give one prediction an instance, {len(queries)} were sent")
        return told


def open_classifier(where: str, *, owned: str | None = None, permission: str | None = None) -> Classifier:
    """A classifier by its place: `http://...`, a folder, or a table of answers.

    Raises:
        LineageError: There is nothing.
    """
    if where.startswith(("http://", "https://")):
        return Address(where, owned, permission)
    path = Path(where)
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Table(path)
    raise LineageError(
        f"{where}: must be a folder with a classifier, a table of its answers, or an address; there is none"
    )


def _by_name(found: Floats, told: Sequence[Any], names: Sequence[str], where: str) -> Floats:
    own = [str(name) for name in told]
    if sorted(own) != sorted(names):
        raise LineageError(
            f"{where}: must have the labels {', '.join(names[:8])}, has {', '.join(own[:8])}; a classifier with other "
            "labels answers another question"
        )
    return found[:, [own.index(name) for name in names]]
