"""A folder is written once, in canonical order, and refuses what would spoil it."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from kdguard.distill.teachers.protocol import Answer, Ask, Message
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.rows import exchange_rows
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TranscriptError
from kdguard.exchanges.token_table import table_to_traces
from kdguard.exchanges.tokens import TOKENS
from tests.distill.transcripts.made_answers import answers, ask, failure, trace

START = datetime(2026, 5, 1, tzinfo=UTC)


def fill(folder: Path, order: list[int]) -> None:
    with TranscriptWriter(folder, about={"teacher": "made"}) as writer:
        for number in order:
            writer.append(ask(number, n=2), answers(number, 2), time=START - timedelta(seconds=number))


def test_everything_comes_back(tmp_path: Path) -> None:
    fill(tmp_path, [3, 1, 2])
    growing = read_transcripts(tmp_path)
    with TranscriptWriter(tmp_path) as writer:
        manifest = writer.seal(seed=7)
    found = read_transcripts(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "exchanges.parquet",
        "manifest.json",
        "tokens.parquet",
    ]
    assert (growing.is_sealed, found.is_sealed) == (False, True)
    assert found.exchanges.equals(growing.exchanges)
    assert found.tokens.packed.equals(growing.tokens.packed)
    assert found.about == growing.about == {"teacher": "made"}
    names = found.exchanges.column("request_id").to_pylist()
    assert names == ["r0003", "r0003", "r0002", "r0002", "r0001", "r0001"], "canonical order is by time"
    assert found.exchanges.column("response").to_pylist()[:2] == ["answer 3.0", "answer 3.1"]
    assert set(found.exchanges.column("origin").to_pylist()) == {"teacher"}
    assert found.tokens.get("r0002", 1) == trace(21)
    assert found.tokens.get("r0002", 2) is None
    assert (len(found.tokens), found.tokens.positions) == (6, 48)
    assert manifest == orjson.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest["counts"] == {"requests": 3, "exchanges": 6, "tokens": 48}
    assert manifest["seed"] == 7
    table = found.tokens.table()
    assert table.schema.equals(TOKENS)
    assert {key[:2] for key in table_to_traces(table)} == {(f"r000{i}", c) for i in (1, 2, 3) for c in (0, 1)}


def test_the_bytes_do_not_depend_on_the_order_of_answers(tmp_path: Path) -> None:
    for name, order in (("a", [1, 2, 3, 4]), ("b", [4, 2, 1, 3])):
        fill(tmp_path / name, order[:2])
        fill(tmp_path / name, order[2:])
        with TranscriptWriter(tmp_path / name) as writer:
            writer.seal()
    for file in ("exchanges.parquet", "tokens.parquet", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_resume_asks_again_only_what_failed(tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path) as writer:
        writer.append(ask(1), answers(1))
        writer.append(ask(2), failure(2))
    with TranscriptWriter(tmp_path) as writer:
        assert writer.done_ids() == {"r0001"}
        assert writer.done_ids(include_failed=True) == {"r0001", "r0002"}
        with pytest.raises(TranscriptError, match="r0001 was answered before"):
            writer.append(ask(1), answers(1))
        writer.append(ask(2), answers(2, 2))
        with pytest.raises(TranscriptError, match="r0002 was answered before"):
            writer.append(ask(2), failure(2))
        writer.seal()
    rows = read_transcripts(tmp_path).exchanges.select(["request_id", "choice", "status"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("r0001", 0, 200), ("r0002", 0, 200), ("r0002", 1, 200)]


def test_a_refusal_by_a_filter_is_an_answer(tmp_path: Path) -> None:
    said = Answer(request_id="r0001", choice=0, model="m", response=None, status=400, refused=True)
    with TranscriptWriter(tmp_path) as writer:
        writer.append(ask(1), [said])
        assert writer.done_ids() == {"r0001"}


def test_a_sealed_folder_is_finished(tmp_path: Path) -> None:
    fill(tmp_path, [1])
    with TranscriptWriter(tmp_path) as writer:
        told = writer.seal()
        assert writer.seal() == told
        assert writer.done_ids() == {"r0001"}
    with TranscriptWriter(tmp_path) as writer:
        assert writer.is_sealed
        assert writer.done_ids() == {"r0001"}
        assert writer.seal() == told
        with pytest.raises(TranscriptError, match="sealed; write what comes later to another folder"):
            writer.append(ask(2), answers(2))


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path, about={"seed": 1, "mix": (1, 2)}):
        pass
    with TranscriptWriter(tmp_path, about={"mix": [1, 2], "seed": 1}) as writer:
        assert writer.done_ids() == frozenset()
    with pytest.raises(TranscriptError, match=r"was begun about .*'seed': 1.*got .*'seed': 2"):
        TranscriptWriter(tmp_path, about={"seed": 2})
    with TranscriptWriter(tmp_path) as writer:
        writer.seal()
    with pytest.raises(TranscriptError, match="was begun about"):
        TranscriptWriter(tmp_path, about={"seed": 2})


def _open(folder: Path, found: multiprocessing.Queue[str]) -> None:
    try:
        TranscriptWriter(folder)
        found.put("opened")
    except TranscriptError as error:
        found.put(str(error))


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    found: multiprocessing.Queue[str] = context.Queue()
    with TranscriptWriter(tmp_path):
        other = context.Process(target=_open, args=(tmp_path, found))
        other.start()
        assert "another process is writing it" in found.get(timeout=20)
        other.join()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"request_id": "a", "choice": 0}] * 2, "each pair once"),
        ([{"request_id": "a"}], "need request_id and choice"),
        ([{"request_id": name, "choice": c} for c, name in enumerate("aba")], "together"),
        ([{"request_id": "a", "choice": 0, "status": "fine"}], "request a does not fit its column"),
    ],
)
def test_rows_that_do_not_fit_are_refused_whole(
    tmp_path: Path, rows: list[dict[str, object]], said: str
) -> None:
    with TranscriptWriter(tmp_path) as writer:
        with pytest.raises(TranscriptError, match=said):
            writer.append_rows(rows, [None] * len(rows))
        assert writer.done_ids() == frozenset()


def test_an_ask_becomes_exchange_columns() -> None:
    asked = Ask(
        request_id="x",
        prompt="And now?",
        system="Be brief.",
        history=(Message("user", "Hi"), Message("assistant", "Hello")),
        logit_bias={5: -100.0, 3: 2.5},
        account_id="acc",
    )
    said = Answer(
        request_id="x", choice=0, model="m", response="Go.", label_probs=(("yes", 0.75), ("no", 0.25))
    )
    (row,) = exchange_rows(asked, [said], time=START, org_id="org")
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant", "user"]
    assert row["logit_bias"] == '{"3":2.5,"5":-100.0}'
    assert row["label_probs"] == [{"label": "yes", "prob": 0.75}, {"label": "no", "prob": 0.25}]
    assert (row["logprobs"], row["top_logprobs"], row["org_id"], row["time"]) == (False, None, "org", START)
    with pytest.raises(TranscriptError, match="no column colour"):
        exchange_rows(asked, [said], colour="red")
    with pytest.raises(TranscriptError, match="own answers, got those of none"):
        exchange_rows(asked, [])
    with pytest.raises(TranscriptError, match=r"got those of \['y'\]"):
        exchange_rows(asked, [Answer(request_id="y", choice=0, model="m", response="")])


def test_folders_without_transcripts_are_named(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="holds no transcripts"):
        read_transcripts(tmp_path)
    fill(tmp_path, [1])
    with TranscriptWriter(tmp_path) as writer:
        writer.seal()
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_bytes(orjson.dumps(manifest | {"schema_version": 9}))
    with pytest.raises(TranscriptError, match="at most 1, got 9"):
        read_transcripts(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "tokens.parquet").write_bytes(b"PAR1")
    with pytest.raises(TranscriptError, match="not a file of packed tokens"):
        read_transcripts(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TranscriptError, match="cannot be made"):
        TranscriptWriter(tmp_path / "file" / "below")
