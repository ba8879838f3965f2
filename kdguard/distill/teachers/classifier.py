"""A classifier behind an API: labels, with as much of the probabilities as the owner chooses to tell."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.errors import TeacherError

Floats = npt.NDArray[np.float64]
Tell = Literal["all", "rounded", "top", "label"]
Inputs = Literal["text", "features"]
_TELLS: tuple[Tell, ...] = ("all", "rounded", "top", "label")
_BATCH = 256


class ClassifierTeacher:
    """Answers prompts with a label.

    Args:
        predict: From a batch of n inputs (texts, or features of shape (n, d)) to probabilities (n, labels).
        labels: Names of the columns.
        name: Id of the teacher.
        inputs: Prompts are `text`, or `features` written as a JSON list of numbers, see `written`.
        tell: `all` probabilities; `rounded` to `decimals`; the `top` label's alone; the `label` only.
        decimals: For `rounded`.
        clock: Seconds, for `latency_ms`.

    Raises:
        TeacherError: Fewer than two labels, labels that repeat, or an unknown way to tell.
    """

    def __init__(
        self,
        predict: Callable[[Any], Any],
        labels: Sequence[str],
        *,
        name: str,
        inputs: Inputs = "text",
        tell: Tell = "all",
        decimals: int = 2,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.labels = tuple(str(label) for label in labels)
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise TeacherError(f"a classifier needs two or more different labels, got {list(self.labels)}")
        if tell not in _TELLS or inputs not in ("text", "features"):
            raise TeacherError(
                f"tell must be one of {', '.join(_TELLS)} and inputs text or features, got {tell!r} and {inputs!r}"
            )
        self.name, self._predict, self._inputs = name, predict, inputs
        self._tell, self._decimals, self._clock = tell, decimals, clock

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer asks in order; every ask has one choice."""
        for start in range(0, len(asks), _BATCH):
            yield from self._batch(asks[start : start + _BATCH])

    def probabilities(self, inputs: Any) -> Floats:
        """What an answer tells, as probabilities (n, labels): rounded, or with zeros for what is not told.

        Raises:
            TeacherError: The classifier's output has another shape, or is not probabilities.
        """
        found = self._asked(inputs)
        if self._tell == "all":
            return found
        if self._tell == "rounded":
            return np.round(found, self._decimals)
        likeliest = np.eye(len(self.labels))[found.argmax(axis=1)]
        return likeliest if self._tell == "label" else likeliest * found

    def _asked(self, inputs: Any) -> Floats:
        found = np.asarray(self._predict(inputs), np.float64)
        wanted = (len(inputs), len(self.labels))
        if found.shape != wanted:
            raise TeacherError(f"{self.name}: predict must return the shape {wanted}, got {found.shape}")
        if not np.isfinite(found).all() or (found < 0).any() or (np.abs(found.sum(axis=1) - 1) > 1e-3).any():
            raise TeacherError(f"{self.name}: predict must return probabilities, rows that sum to 1")
        return found

    def _batch(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        began = self._clock()
        read = [self._read(ask.prompt) for ask in asks]
        alike: dict[int, list[int]] = defaultdict(list)  # rows of different widths cannot stand in one array
        for at, one in enumerate(read):
            if isinstance(one, TeacherError):
                yield failed(asks[at], self.name, status=400, error=str(one))
            else:
                alike[len(one) if self._inputs == "features" else 0].append(at)
        for chosen in alike.values():
            yield from self._told([asks[at] for at in chosen], [read[at] for at in chosen], began)

    def _told(self, asks: Sequence[Ask], read: Sequence[Any], began: float) -> Iterator[Answer]:
        inputs = np.array(read, np.float64) if self._inputs == "features" else list(read)
        try:
            rows = self._asked(inputs)
        except (TeacherError, ValueError) as error:  # scikit-learn refuses a wrong width so
            yield from (failed(ask, self.name, status=400, error=str(error)) for ask in asks)
            return
        latency_ms = (self._clock() - began) * 1e3
        for ask, row in zip(asks, rows, strict=True):
            label = self.labels[int(row.argmax())]
            yield Answer(
                request_id=ask.request_id,
                choice=0,
                model=self.name,
                response=label,
                label=label,
                label_probs=self._shown(row),
                finish_reason="stop",
                latency_ms=latency_ms,
            )

    def _shown(self, row: Floats) -> tuple[tuple[str, float], ...] | None:
        if self._tell == "label":
            return None
        order = np.argsort(-row, kind="stable")[: 1 if self._tell == "top" else None]
        shown = np.round(row, self._decimals) if self._tell == "rounded" else row
        return tuple((self.labels[at], float(shown[at])) for at in order)

    def _read(self, prompt: str) -> Any:
        if self._inputs == "text":
            return prompt
        try:
            row = np.array(json.loads(prompt), np.float64)
        except (ValueError, TypeError, RecursionError):
            return TeacherError("a prompt must be a JSON list of numbers")
        if row.ndim != 1 or not np.isfinite(row).all():
            return TeacherError(f"a prompt must be a JSON list of finite numbers, got the shape {row.shape}")
        return row


def written(features: npt.ArrayLike) -> str:
    """One row of features as a prompt."""
    return json.dumps([float(value) for value in np.asarray(features, np.float64)])


def sklearn_classifier(
    estimator: Any, *, name: str, inputs: Inputs = "text", **told: Any
) -> ClassifierTeacher:
    """A fitted scikit-learn classifier or pipeline with `predict_proba` as a teacher.

    Args:
        estimator: The estimator, made in this process; nothing is unpickled.
        name: Id of the teacher.
        inputs: What the estimator takes.
        told: `tell` and `decimals` of `ClassifierTeacher`.

    Raises:
        TeacherError: It is not fitted or gives no probabilities.
    """
    if not hasattr(estimator, "predict_proba") or not hasattr(estimator, "classes_"):
        raise TeacherError(f"{type(estimator).__name__}: must be fitted and have predict_proba")
    labels = [str(label) for label in estimator.classes_]
    return ClassifierTeacher(estimator.predict_proba, labels, name=name, inputs=inputs, **told)


def torch_classifier(module: Any, labels: Sequence[str], *, name: str, **told: Any) -> ClassifierTeacher:
    """A torch module from features (n, d) float32 to logits (n, labels) as a teacher.

    Args:
        module: Put into evaluation mode.
        labels: Names of the logits.
        name: Id of the teacher.
        told: `tell` and `decimals` of `ClassifierTeacher`.
    """
    import torch

    module.eval()

    def predict(features: Floats) -> Floats:
        where = next(module.parameters(), torch.zeros(0)).device
        with torch.inference_mode():
            logits = module(torch.tensor(features, dtype=torch.float32, device=where))
        return logits.double().softmax(-1).cpu().numpy()

    return ClassifierTeacher(predict, labels, name=name, inputs="features", **told)
