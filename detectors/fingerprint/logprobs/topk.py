"""How far a model's likeliest tokens lie from each family's, where both stand behind the same text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.distill.transcripts.codec import unpack
from kdguard.errors import InputError, LineageError
from kdguard.exchanges.tokens import TokenTrace
from kdguard.lineage.families import Families
from kdguard.lineage.numbers import Numbers
from kdguard.lineage.scored import About

Floats = npt.NDArray[np.float64]
Traces = Mapping[tuple[str, str], TokenTrace]
"""What a model told of its tokens, by model and prompt."""

TOP_K: Final = About(
    name="logprobs.top_k", version="2", summary="likeliest tokens as of no control, in the first words of"
)
_SMALL: Final = 1e-6


def divergences_of(traces: Traces, models: Sequence[str], families: Families) -> Numbers:
    """Minus the divergence of a model's tokens from a family's, by prompt.

    KL(model || family) over the tokens that both list and one bucket for the rest, averaged over the positions before
    which both wrote the same; the first always is one. A family's members are averaged.

    Args:
        traces: With alternatives.
        models: In the order of `families.of_model`.
        families: The families.

    Raises:
        LineageError: A trace tells no alternatives.
    """
    prompts = sorted({prompt for _, prompt in traces})
    values = np.full((len(prompts), len(models), len(families)), np.nan)
    members = [
        [models[int(at)] for at in np.flatnonzero(families.of_model == family)]
        for family in range(len(families))
    ]
    for row, prompt in enumerate(prompts):
        for column, model in enumerate(models):
            mine = traces.get((model, prompt))
            if mine is None:
                continue
            for family, names in enumerate(members):
                theirs = [traces[name, prompt] for name in names if (name, prompt) in traces]
                if theirs:
                    values[row, column, family] = -float(np.mean([divergence(one, mine) for one in theirs]))
    return Numbers(tuple(models), families.names, values)


def read_traces(path: Path) -> dict[tuple[str, str], TokenTrace]:
    """Read a packed token table whose request ids are `MODEL/PROMPT`.

    Raises:
        LineageError: It is none, or a request id names no model.
    """
    try:
        rows = pq.read_table(path).to_pylist()
        traces = {tuple(row["request_id"].rsplit("/", 1)): unpack(row) for row in rows}
    except (pa.ArrowInvalid, OSError, KeyError, InputError) as error:
        raise LineageError(f"{path}: must be a packed token table (tokens.parquet): {error}") from error
    if any(len(key) != 2 for key in traces):
        raise LineageError(f"{path}: request ids must be MODEL/PROMPT, one is not")
    return {(key[0], key[1]): trace for key, trace in traces.items()}


def divergence(teacher: TokenTrace, model: TokenTrace) -> float:
    """Mean KL(model || teacher) over the positions where both stand behind the same text, nats.

    Raises:
        LineageError: A trace tells no alternatives.
    """
    found = []
    for position in range(min(len(teacher), len(model))):
        found.append(_at(_listed(model, position), _listed(teacher, position)))
        if teacher.token_bytes[position] != model.token_bytes[position]:
            break
    return float(np.mean(found)) if found else 0.0


def _at(mine: Mapping[bytes | int, float], theirs: Mapping[bytes | int, float]) -> float:
    both = sorted(mine.keys() & theirs.keys(), key=str)
    p = np.array([*(mine[token] for token in both), 1 - sum(mine[token] for token in both)])
    q = np.array([*(theirs[token] for token in both), 1 - sum(theirs[token] for token in both)])
    p, q = np.clip(p, _SMALL, 1), np.clip(q, _SMALL, 1)
    return float((p * np.log(p / q)).sum())


def _listed(trace: TokenTrace, position: int) -> dict[bytes | int, float]:
    if trace.top_logprobs is None:
        raise LineageError("a trace must tell alternatives at each token; ask with top_logprobs of 5 or more")
    shown = np.exp(np.asarray(trace.top_logprobs[position], np.float64)).tolist()
    if trace.top_bytes is not None:
        return dict(zip(trace.top_bytes[position], shown, strict=False))
    if trace.top_ids is None:
        raise LineageError("alternatives must have bytes or ids; this trace has neither")
    return dict(zip(np.asarray(trace.top_ids[position]).tolist(), shown, strict=False))
