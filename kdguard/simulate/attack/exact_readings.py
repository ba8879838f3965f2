"""Log-probabilities as told: transcripts keep half precision, in which the small singular values of logits drown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from kdguard.distill.teachers.protocol import Answer, Ask, Teacher
from kdguard.exchanges.whole import replaced

Floats = npt.NDArray[np.float32]
FILE = "readings.jsonl"


class ExactReadings:
    """A teacher whose log-probabilities are kept, one line a request, before the answer is told on.

    Args:
        teacher: Who is asked, one choice a request.
        folder: Where `readings.jsonl` is, or is begun.

    Attributes:
        name: The teacher's.
    """

    def __init__(self, teacher: Teacher, folder: Path) -> None:
        self.name, self._teacher, self._path = teacher.name, teacher, folder / FILE
        self._known = {line["request_id"]: line for line in _lines(self._path)}

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer asks; a line is with the operating system before its answer goes anywhere."""
        with self._path.open("ab", buffering=0) as lines:
            for answer in self._teacher.answer(asks):
                if answer.tokens is not None:
                    line = {
                        "request_id": answer.request_id,
                        "logprob": answer.tokens.logprob,
                        "top_logprobs": answer.tokens.top_logprobs,
                    }
                    lines.write(b"\n" + orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY))
                yield answer

    def settle(self) -> None:
        """Put the lines in the order of their ids, each request once: a killed run may have asked one twice."""
        last = {line["request_id"]: line for line in _lines(self._path)}
        with replaced(self._path) as unfinished:
            unfinished.write_bytes(b"".join(orjson.dumps(last[name]) + b"\n" for name in sorted(last)))

    def exact(self, answer: Answer) -> Answer:
        """An answer that was read back from transcripts, with the log-probabilities that were told."""
        known = self._known.get(answer.request_id)
        if known is None or answer.tokens is None:
            return answer
        top = known["top_logprobs"]
        tokens = replace(
            answer.tokens,
            logprob=_numbers(known["logprob"]),
            top_logprobs=None if top is None else _numbers(top),
        )
        return replace(answer, tokens=tokens)


def _numbers(values: Any) -> Floats:
    """JSON has no infinity: null stands for the log of 0."""
    found = np.array(values, np.float32)
    return np.where(np.isnan(found), np.float32(-np.inf), found)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines; one that a crash cut off is passed over, since its request was not kept either."""
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            if line:
                yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
