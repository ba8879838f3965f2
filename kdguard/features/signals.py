"""From exchanges to signals: everything a detector may look at, as numbers and hashes, one row an exchange.

Signals hold no text. They are what is sorted on disk and folded, so a prompt never leaves the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.features.embedding import Embedding
from kdguard.features.familiarity import Familiarity
from kdguard.features.text import Codes, Words, edge_codes, hash_identities, hash_words, mix, text_codes

TEMPLATE_SPAN_WORDS = 5
MARGIN_SCALE = 256
NO_TIME = np.iinfo(np.int64).min
_HOUR_US = 3_600_000_000
_HALF_KEY = np.uint64(0x6B64_6775_6172_6431)

_FIELDS: list[pa.Field[Any]] = [
    pa.field("subject", pa.uint64()),  # hash of account_id
    pa.field("account_id", pa.string()),
    pa.field("time_us", pa.int64()),  # microseconds since 1970; NO_TIME = the log has none
    pa.field("request_id", pa.string()),
    pa.field("choice", pa.int32()),
    pa.field("margin", pa.int32()),  # technique log-odds against benign, nats x 256
    pa.field("technique", pa.int8()),  # index of the likeliest technique
    pa.field("familiarity", pa.int32()),  # share of pairs of common words the reference has, x 256; -1 = few
    pa.field("has_text", pa.bool_()),
    pa.field("signs", pa.binary(16)),  # packed random-hyperplane signs of the prompt
    pa.field("head", pa.uint64()),  # first words, digits masked
    pa.field("tail", pa.uint64()),  # last words
    pa.field("text", pa.uint64()),  # whole prompt
    pa.field("system", pa.uint64()),  # system prompt, 0 = none
    pa.field("prompt_bytes", pa.int64()),
    pa.field("output_tokens", pa.int64()),  # -1 = not known
    pa.field("flags", pa.int32()),  # bits of Flag
    pa.field("model", pa.uint64()),
    pa.field("network", pa.uint64()),  # /24 or /48 of the caller
    pa.field("user_agent", pa.uint64()),
    pa.field("tls", pa.uint64()),
    pa.field("key", pa.uint64()),
    pa.field("session", pa.uint64()),
    pa.field("org", pa.uint64()),
    pa.field(
        "half", pa.bool_()
    ),  # keyed half of the account's sessions: groups form on one, are tested on the other
]

SIGNALS: pa.Schema = pa.schema(_FIELDS)

FLAGS: Mapping[str, int] = {
    "logprobs": 1,
    "many_choices": 2,
    "logit_bias": 4,
    "tools": 8,
    "single_turn": 16,
    "refused": 32,
    "blocked": 64,  # status 403 or 429
    "failed": 128,  # any other status >= 400
    "greedy": 256,  # temperature 0
    "has_session": 512,
}


class TechniqueModel(Protocol):
    """Whatever tells extraction requests from ordinary ones by their words."""

    def margins(self, words: Words) -> npt.NDArray[np.int32]:
        """Return log-odds of each technique against benign, in nats x 256, shape (n, k)."""
        ...


@dataclass(frozen=True)
class Encoder:
    """Turns exchanges into signals; a pure function of one row at a time.

    Attributes:
        technique: Model of extraction wording.
        embedding: Random-hyperplane signs.
        familiarity: Word pairs of the reference.
    """

    technique: TechniqueModel
    embedding: Embedding
    familiarity: Familiarity

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Encode n exchanges as n signals, in the same order.

        Rows without an account are dropped here; the caller counts them beforehand.

        Args:
            batch: Exchanges in the schema of `kdguard.exchanges.schema.EXCHANGES`.
        """
        if batch.column("account_id").null_count:
            batch = batch.filter(pc.is_valid(batch.column("account_id")))
        words = hash_words(batch.column("prompt"))
        margins = self.technique.margins(words)
        system_margins, system = self._system(batch)
        margins = np.maximum(margins, system_margins)
        head, tail = edge_codes(words, TEMPLATE_SPAN_WORDS)
        signs = self.embedding.signs(words)
        subject = hash_identities(batch.column("account_id"))
        session = hash_identities(batch.column("session_id"))
        time_us = _time_us(batch)
        columns: dict[str, Any] = {
            "subject": subject,
            "account_id": batch.column("account_id"),
            "time_us": time_us,
            "request_id": batch.column("request_id"),
            "choice": batch.column("choice"),
            "margin": margins.max(axis=1),
            "technique": margins.argmax(axis=1).astype(np.int8),
            "familiarity": self.familiarity.of(words),
            "has_text": words.size_bytes > 0,
            "signs": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(signs), [None, pa.py_buffer(signs.tobytes())]
            ),
            "head": head,
            "tail": tail,
            "text": text_codes(words),
            "system": system,
            "prompt_bytes": words.size_bytes,
            "output_tokens": batch.column("output_tokens").fill_null(-1),
            "flags": _flags(batch),
            "model": hash_identities(batch.column("model")),
            "network": hash_identities(_network(batch.column("client_ip"))),
            "user_agent": hash_identities(batch.column("user_agent")),
            "tls": hash_identities(batch.column("tls_fingerprint")),
            "key": hash_identities(batch.column("key_hash")),
            "session": session,
            "org": hash_identities(batch.column("org_id")),
            "half": _half(subject, session, time_us),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in SIGNALS]
        return pa.RecordBatch.from_arrays(arrays, schema=SIGNALS)

    def _system(self, batch: pa.RecordBatch) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        """Score system prompts once per distinct text: an account repeats its own."""
        encoded = batch.column("system").dictionary_encode()
        distinct = hash_words(pa.concat_arrays([encoded.dictionary, pa.array([None], pa.string())]))
        at = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
        codes = np.where(np.diff(distinct.indptr) > 0, text_codes(distinct), np.uint64(0))
        margins = self.technique.margins(distinct)
        margins[np.diff(distinct.indptr) == 0] = np.iinfo(np.int32).min
        return margins[at], codes[at]


def _time_us(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    return batch.column("time").cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)


def _half(subject: Codes, session: Codes, time_us: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Send whole sessions, or hours where the log has no sessions, to one of two halves."""
    hour = (time_us // _HOUR_US).view(np.uint64)
    unit = np.where(session != 0, session, mix(hour ^ _HALF_KEY))
    return (mix(unit ^ mix(subject ^ _HALF_KEY)) >> np.uint64(63)).astype(np.bool_)


def _network(addresses: pa.Array[Any]) -> pa.Array[Any]:
    """Keep the /24 of an IPv4 address and the first three groups of an IPv6 address."""
    return pc.replace_substring_regex(
        addresses,
        pattern=r"^(?:(\d+\.\d+\.\d+)\..*|([0-9a-fA-F]+:[0-9a-fA-F]*:[0-9a-fA-F]*).*)$",
        replacement=r"\1\2",
    )


def _flags(batch: pa.RecordBatch) -> npt.NDArray[np.int32]:
    def column(name: str) -> pa.Array[Any]:
        return batch.column(name)

    def bools(values: pa.Array[Any]) -> npt.NDArray[np.bool_]:
        return values.fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)

    def present(values: pa.Array[Any]) -> npt.NDArray[np.bool_]:
        return pc.is_valid(values).to_numpy(zero_copy_only=False).astype(np.bool_)

    status = column("status").fill_null(200).to_numpy(zero_copy_only=False)
    turns = pc.list_value_length(column("messages")).fill_null(1).to_numpy(zero_copy_only=False)
    bits = {
        "logprobs": bools(column("logprobs"))
        | (column("top_logprobs").fill_null(0).to_numpy(zero_copy_only=False) > 0),
        "many_choices": column("n").fill_null(1).to_numpy(zero_copy_only=False) > 1,
        "logit_bias": present(column("logit_bias")),
        "tools": present(column("tools")) & ~bools(pc.is_in(column("tools"), pa.array(["", "[]", "false"]))),
        "single_turn": turns <= 2,
        "refused": bools(column("refused")),
        "blocked": (status == 403) | (status == 429),
        "failed": (status >= 400) & (status != 403) & (status != 429),
        "greedy": column("temperature").fill_null(1.0).to_numpy(zero_copy_only=False) == 0.0,
        "has_session": present(column("session_id")),
    }
    flags = np.zeros(batch.num_rows, np.int32)
    for name, value in bits.items():
        flags |= np.where(value, FLAGS[name], 0).astype(np.int32)
    return flags
