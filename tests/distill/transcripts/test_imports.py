"""Logs become transcripts as the managed services take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from kdguard.distill.transcripts.api_tokens import trace_of_chat
from kdguard.distill.transcripts.imports import Mode, import_log
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.errors import LogError, TranscriptError
from kdguard.exchanges import store
from kdguard.readers import read

LOGS = Path(__file__).resolve().parents[3] / "fixtures" / "logs"


def told(text: str, logprob: float, top: int = 0) -> dict[str, Any]:
    entry: dict[str, Any] = {"token": text, "logprob": logprob, "bytes": list(text.encode())}
    return entry | {"top_logprobs": [told(f"{text}{i}", logprob - i) for i in range(top)]}


def stored(number: int, *, choices: int = 1, logprobs: bool = True, **more: Any) -> dict[str, Any]:
    """A stored completion with its messages beside it."""
    content = [told("Rom", -0.25, top=3), told("\ud55c", -0.5, top=2)] if logprobs else None
    said = [
        {
            "index": at,
            "message": {"role": "assistant", "content": f"Rome {number}.{at}"},
            "finish_reason": "stop",
            "logprobs": {"content": content} if logprobs else None,
        }
        for at in range(choices)
    ]
    whole = {"id": f"c-{number:03d}", "object": "chat.completion", "created": 1_711_652_800 + number}
    asked = {
        "messages": [{"role": "user", "content": f"Capital {number}?"}],
        "model": "gpt-4o",
        "metadata": {},
    }
    return whole | asked | {"choices": said} | more


def invocation(number: int, **metadata: Any) -> dict[str, Any]:
    return {
        "schemaType": "ModelInvocationLog",
        "timestamp": "2026-04-17T14:21:50Z",
        "requestId": f"b-{number:03d}",
        "operation": "Converse",
        "modelId": "nova",
        "input": {
            "inputBodyJson": {"messages": [{"role": "user", "content": [{"text": f"River {number}?"}]}]}
        },
        "output": {"outputBodyJson": {"output": {"message": {"content": [{"text": f"Rhine {number}"}]}}}},
        "requestMetadata": metadata,
    }


def lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def test_stored_completions_become_pairs_with_their_tokens(tmp_path: Path) -> None:
    log = lines(tmp_path / "log.jsonl", [stored(1, choices=2), stored(2, logprobs=False)])
    done = import_log([log], tmp_path / "out")
    found = read_transcripts(tmp_path / "out")
    assert (done.requests, done.records, done.with_tokens, dict(done.dropped)) == (2, 3, 2, {})
    rows = found.exchanges.select(["request_id", "choice", "prompt", "response", "origin"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("c-001", 0, "Capital 1?", "Rome 1.0", "teacher"),
        ("c-001", 1, "Capital 1?", "Rome 1.1", "teacher"),
        ("c-002", 0, "Capital 2?", "Rome 2.0", "teacher"),
    ]
    trace = found.tokens.get("c-001", 1)
    assert trace is not None
    assert trace.token_bytes == (b"Rom", "\ud55c".encode())
    assert trace.token_id is None, "bytes of an API are never tokenised again"
    assert trace.top_ids is None
    assert trace.top_bytes is not None
    assert trace.top_bytes[0] == (b"Rom0", b"Rom1", b"Rom2")
    assert trace.top_bytes[1][2] == b""
    assert found.tokens.get("c-002") is None
    assert found.about["mode"] == "pairs"


def test_prompts_alone_carry_nothing_that_was_answered(tmp_path: Path) -> None:
    log = lines(tmp_path / "log.jsonl", [stored(1, choices=2), stored(2)])
    done = import_log([log], tmp_path / "out", format="openai-stored", mode=Mode.PROMPT_ONLY)
    found = read_transcripts(tmp_path / "out")
    assert (done.requests, done.records, len(found.tokens)) == (2, 2, 0)
    row = found.exchanges.to_pylist()[0]
    assert (row["prompt"], row["model"], row["choice"]) == ("Capital 1?", "gpt-4o", 0)
    assert all(
        row[name] is None for name in ("response", "finish_reason", "output_tokens", "status", "refused")
    )


def test_metadata_must_hold_every_pair(tmp_path: Path) -> None:
    many = [
        stored(1, metadata={"job": "kd", "round": "2"}),
        stored(2, metadata={"job": "kd"}),
        stored(3, metadata=None),
        stored(4, metadata={"job": "kd", "round": 2}),
    ]
    log = lines(tmp_path / "log.jsonl", many)
    done = import_log([log], tmp_path / "out", metadata={"job": "kd", "round": "2"})
    assert read_transcripts(tmp_path / "out").exchanges.column("request_id").to_pylist() == ["c-001", "c-004"]
    assert dict(done.dropped) == {"metadata": 2}
    with pytest.raises(TranscriptError, match=r"every record was left out \(metadata 4\)"):
        import_log([log], tmp_path / "none", metadata={"job": "other"})
    done = import_log(
        [lines(tmp_path / "m", [stored(1), stored(2, model="o9")])], tmp_path / "m2", model="o9"
    )
    assert (done.requests, dict(done.dropped)) == (1, {"model": 1})


def test_bedrock_logs_are_filtered_also_when_flattened(tmp_path: Path) -> None:
    flat = invocation(3)
    del flat["requestMetadata"]
    flat["requestMetadata.tenant"] = "t-91"
    log = lines(tmp_path / "log.jsonl", [invocation(1, tenant="t-91"), invocation(2, tenant="t-9"), flat])
    done = import_log([log], tmp_path / "out", metadata={"tenant": "t-91"})
    found = read_transcripts(tmp_path / "out").exchanges
    assert found.column("response").to_pylist() == ["Rhine 1", "Rhine 3"]
    assert done.dropped == {"metadata": 1}
    assert set(found.column("source_format").to_pylist()) == {"bedrock"}


def test_the_shipped_samples_are_read(tmp_path: Path) -> None:
    done = import_log([LOGS / "bedrock.json"], tmp_path / "b", format="bedrock", metadata={"tenant": "t-91"})
    assert (done.records, dict(done.dropped)) == (1, {"metadata": 3})
    done = import_log([LOGS / "bedrock.json"], tmp_path / "all")
    assert (done.records, dict(done.dropped)) == (3, {"no_prompt": 1})
    done = import_log([LOGS / "openai-stored.jsonl"], tmp_path / "o")
    assert (done.records, dict(done.dropped)) == (1, {"no_prompt": 1})


def test_the_limit_counts_pairs_and_keeps_requests_whole(tmp_path: Path) -> None:
    log = lines(
        tmp_path / "log.jsonl", [stored(1, choices=2), stored(2, choices=2), stored(3), stored(3), stored(1)]
    )
    done = import_log([log], tmp_path / "out", limit=3)
    assert (done.requests, done.records) == (2, 3)
    assert dict(done.dropped) == {"over_limit": 1, "duplicate": 2}
    with pytest.raises(TranscriptError, match="limit must be at least 1"):
        import_log([log], tmp_path / "other", limit=0)


def test_unanswered_and_failed_requests_are_no_pairs(tmp_path: Path) -> None:
    silent = stored(1)
    silent["choices"][0]["message"]["content"] = None
    log = lines(tmp_path / "log.jsonl", [silent, stored(2, messages=None), stored(3)])
    done = import_log([log], tmp_path / "out")
    assert (done.records, dict(done.dropped)) == (1, {"no_answer": 1, "no_prompt": 1})
    assert import_log([log], tmp_path / "prompts", mode=Mode.PROMPT_ONLY).records == 2


def test_an_import_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = lines(tmp_path / "log.jsonl", [stored(number) for number in range(700)])
    calls = 0

    def die(*_: object, **__: object) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kdguard.distill.transcripts.writer.TranscriptWriter.seal", die)
        with pytest.raises(KeyboardInterrupt):
            import_log([log], tmp_path / "out")
    assert calls == 1
    again = import_log([log], tmp_path / "out")
    whole = import_log([log], tmp_path / "whole")
    assert again == whole
    assert (tmp_path / "out/tokens.parquet").read_bytes() == (tmp_path / "whole/tokens.parquet").read_bytes()
    with pytest.raises(TranscriptError, match="already holds this import"):
        import_log([log], tmp_path / "out")
    with pytest.raises(TranscriptError, match="was begun about"):
        import_log([log], tmp_path / "out", limit=5)


def test_other_formats_are_imported_without_a_filter(tmp_path: Path) -> None:
    store.write(read([LOGS / "jsonl.jsonl"]), tmp_path / "log.parquet")
    answered = sum(
        1 for batch in read([LOGS / "jsonl.jsonl"]) for r in batch.column("response").to_pylist() if r
    )
    for name, log in (("a", LOGS / "jsonl.jsonl"), ("b", tmp_path / "log.parquet")):
        assert import_log([log], tmp_path / name).records == answered
    with pytest.raises(TranscriptError, match=r"--metadata works with .* not with 'jsonl'"):
        import_log([LOGS / "jsonl.jsonl"], tmp_path / "c", metadata={"a": "b"})
    with pytest.raises(LogError, match="no such file"):
        import_log([tmp_path / "gone"], tmp_path / "d")
    with pytest.raises(TranscriptError, match="'telex' cannot be imported"):
        import_log([LOGS / "jsonl.jsonl"], tmp_path / "e", format="telex")


def test_alternatives_that_differ_in_number_are_padded() -> None:
    trace = trace_of_chat([told("a", -0.1, top=2), told("b", -0.2), told("c", -9999.0, top=1)])
    assert trace is not None
    assert trace.widths.tolist() == [2, 0, 1]
    assert trace.tail_mass is not None
    np.testing.assert_allclose(
        trace.tail_mass, [0, 1, 1]
    )  # e^-0.1 + e^-1.1 > 1: rounded by the API, not by us
    bare = trace_of_chat([{"token": "\u00e9", "logprob": -1, "bytes": None}])
    assert bare is not None
    assert bare.token_bytes == ("\u00e9".encode(),)
    assert bare.top_bytes is None


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "text",
        [{"token": "a"}],
        [{"token": "a", "logprob": "low"}],
        [{"token": "a", "logprob": float("nan")}],
        [{"token": "a", "logprob": -1, "bytes": [300]}],
        [{"token": "a", "logprob": -1, "bytes": 7}],
        [{"logprob": -1}],
        [{"token": "a", "logprob": -1, "top_logprobs": ["b"]}],
        [["a", -1]],
    ],
)
def test_tokens_of_another_shape_are_not_guessed(wrong: Any) -> None:
    assert trace_of_chat(wrong) is None
