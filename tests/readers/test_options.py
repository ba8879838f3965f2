"""Where logs come from, and what the user can say about them."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from kdguard.errors import LogError
from kdguard.exchanges.schema import EXCHANGES
from kdguard.readers import Rejects, read, sniff, stream
from tests.readers.log_samples import LOGS, rows_of

FLAT = LOGS / "jsonl.jsonl"


def accounts(*args: Any, **kwargs: Any) -> list[str | None]:
    return [row.get("account_id") for row in rows_of(read(*args, **kwargs))]


def test_compression_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    expected = rows_of(read([FLAT]))
    raw = FLAT.read_bytes()
    half = raw.index(b"\n") + 1
    packed = zstandard.ZstdCompressor()
    variants = {
        "a.txt": gzip.compress(raw),
        "b.jsonl": packed.compress(raw),
        "c.gz": raw,
        "members": gzip.compress(raw[:half]) + gzip.compress(raw[half:]),
        "frames": packed.compress(raw[:half]) + packed.compress(raw[half:]),
        "crlf": raw.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + raw,
        "unended": raw.rstrip(b"\n"),
    }
    for name, data in variants.items():
        (tmp_path / name).write_bytes(data)
        assert rows_of(read([tmp_path / name])) == expected, name
        assert sniff(tmp_path / name) == "jsonl"


def test_json_over_many_lines(tmp_path: Path) -> None:
    expected = rows_of(read([FLAT]))
    records = [orjson.loads(line) for line in FLAT.read_bytes().splitlines()]
    each = b",\n".join(map(orjson.dumps, records))
    pretty = [orjson.dumps(record, option=orjson.OPT_INDENT_2) for record in records]
    variants = {
        "indented": orjson.dumps(records, option=orjson.OPT_INDENT_2),
        "one a line": b"[\n" + each + b"\n]\n",
        "one line": orjson.dumps(records),
        "objects": b"\n".join(pretty),
    }
    for name, data in variants.items():
        (tmp_path / name).write_bytes(data)
        rejects = Rejects()
        assert rows_of(read([tmp_path / name], rejects=rejects)) == expected, name
        assert rejects.total == 0
    (tmp_path / "cut").write_bytes(variants["indented"][:-30])
    rejects = Rejects()
    assert rows_of(read([tmp_path / "cut"], rejects=rejects)) == expected[:-1]
    assert "must end with its last record complete" in rejects.messages()[0]


def test_globs_directories_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = rows_of(read([FLAT]))
    for name in ("x/1.jsonl", "x/y/2.jsonl", "x/_SUCCESS", "x/.hidden", "x/notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FLAT.read_bytes() if name.endswith("l") else b"")
    assert rows_of(read([tmp_path])) == one * 2
    assert rows_of(read([tmp_path / "**" / "*.jsonl"])) == one * 2
    assert rows_of(read([tmp_path / "x" / "*.jsonl", FLAT])) == one * 2

    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(gzip.compress(FLAT.read_bytes())))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert rows_of(read(["-"])) == one
    with pytest.raises(LogError, match="stdin has no modification time"):
        read(["-"], time="file")
    os.mkfifo(tmp_path / "pipe")
    feeder = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(FLAT.read_bytes(),))
    feeder.start()
    assert rows_of(read([tmp_path / "pipe"])) == one
    feeder.join()
    for missing in (tmp_path / "none", tmp_path / "*.csv"):
        with pytest.raises(LogError, match="no such file"):
            read([missing])
    with pytest.raises(LogError, match="--format must be one of auto, bedrock"):
        read([FLAT], "csv")


def test_account_and_time_from_elsewhere() -> None:
    assert accounts([FLAT], account="=me") == ["me"] * 3
    assert accounts([FLAT], account="org_id") == ["org-1", None, None]
    assert accounts([LOGS / "bedrock.json"], account="requestMetadata.tenant")[0] == "t-91"
    assert accounts([LOGS / "otel.json"], account="entry.spanId")[1:] == ["01", "02"]
    times = {row["time"] for row in rows_of(read([FLAT], time="file"))}
    assert len(times) == 1
    assert rows_of(read([LOGS / "openai.jsonl"], time="response.created"))[0]["time"].endswith("40:01+00:00")
    ids = [row["request_id"] for row in rows_of(read([FLAT]))]
    assert [row["request_id"] for row in rows_of(read([FLAT], account="=me", time="file"))] == ids


def parquet(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def test_parquet_with_missing_extra_and_bad_columns(tmp_path: Path) -> None:
    plain = pa.table({"request_id": ["a", "b"], "prompt": ["p", "q"], "more": [1, 2], "account_id": [7, 8]})
    (batch,) = read([parquet(tmp_path / "p.parquet", plain)])
    assert batch.schema.equals(EXCHANGES, check_metadata=True)
    assert batch.column("account_id").to_pylist() == ["7", "8"]
    bad = plain.append_column("input_tokens", pa.array([5, -5]))
    rejects = Rejects()
    rows = rows_of(read([parquet(tmp_path / "bad.parquet", bad)], rejects=rejects))
    assert [row["request_id"] for row in rows] == ["a"]
    assert rejects.messages()[0].startswith(f"{tmp_path / 'bad.parquet'}:2: 'input_tokens' must be")
    assert accounts([tmp_path / "p.parquet"], account="more") == ["1", "2"]
    nameless = rows_of(read([parquet(tmp_path / "no.parquet", plain.drop(["request_id"]))]))
    assert len({row["request_id"] for row in nameless}) == 2
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, plain.schema) as writer:
        writer.write_table(plain)
    assert rows_of(read([tmp_path / "x.arrow"], batch_rows=1)) == rows_of(read([tmp_path / "p.parquet"]))
    cut = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(LogError, match=r"cut.parquet: the file is damaged"):
        list(read([tmp_path / "cut.parquet"]))


def test_parquet_gives_what_jsonl_gives(tmp_path: Path) -> None:
    table = pa.Table.from_batches(read([FLAT, LOGS / "openai.jsonl", LOGS / "vertex.jsonl"]))
    path = parquet(tmp_path / "all.parquet", table)
    assert pa.Table.from_batches(read([path], batch_rows=2)).equals(table)


def test_vertex_rows_in_parquet(tmp_path: Path) -> None:
    records = [orjson.loads(line) for line in (LOGS / "vertex.jsonl").read_bytes().splitlines()]
    names = sorted(set().union(*records))
    columns = {
        name: [
            orjson.dumps(v).decode() if isinstance(v := record.get(name), dict) else v for record in records
        ]
        for name in names
    }
    path = parquet(tmp_path / "vertex.parquet", pa.table(columns))
    assert sniff(path) == "vertex"
    assert rows_of(read([path])) == rows_of(read([LOGS / "vertex.jsonl"]))


def test_joins_do_not_depend_on_the_order_of_files() -> None:
    for names in (("azure-apim.llm.jsonl", "azure-apim.gateway.jsonl"), ("openai-batch.input.jsonl",) * 1):
        paths = [LOGS / name for name in names]
        assert rows_of(read(paths)) == rows_of(read(paths[::-1]))


def test_several_formats_at_once() -> None:
    rows = rows_of(read([LOGS / "openai.jsonl", LOGS / "azure-apim.llm.jsonl", LOGS / "bedrock.json"]))
    assert [row["source_format"] for row in rows] == ["openai"] * 5 + ["bedrock"] * 4 + ["azure-apim"] * 2


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[columns", "must be TOML"),
        ("colums = 1", "got 'colums'"),
        ('[columns]\nwho = "x"', "got 'who'"),
        ("[columns]\nprompt = 1", "a dotted path"),
        ("request = 1", "'request' must be a dotted path"),
        ("", "must have"),
    ],
)
def test_wrong_mapping_is_explained(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "m.toml").write_text(toml)
    with pytest.raises(LogError, match=said):
        stream.read([FLAT], f"mapping:{tmp_path / 'm.toml'}")


def test_mtime_is_the_time(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(FLAT.read_bytes())
    os.utime(path, (1768473900, 1768473900))
    assert {row["time"] for row in rows_of(read([path], time="file"))} == {"2026-01-15T10:45:00+00:00"}
