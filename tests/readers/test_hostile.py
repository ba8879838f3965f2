"""Bad input that must be survived: a clear message or a counted reject, and no lost good line."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from kdguard.errors import LogError
from kdguard.readers import Rejects, read, sources
from tests.readers.log_samples import rows_of


def good(number: int, **more: Any) -> dict[str, Any]:
    return {"request_id": f"r{number}", "account_id": "a", "prompt": "p", "time": 1768473900 + number} | more


def write(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"".join((x if isinstance(x, bytes) else orjson.dumps(x)) + b"\n" for x in lines))
    return path


def ids(path: Path, rejects: Rejects | None = None, format: str = "auto") -> list[str]:
    return [row["request_id"] for row in rows_of(read([path], format, rejects=rejects))]


@pytest.mark.parametrize("content", [b"", b"\n\n \n", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
def test_empty_file_is_an_error_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none.jsonl"
    path.write_bytes(content)
    for format_name in ("auto", "jsonl", "otel"):
        with pytest.raises(LogError, match=r"none\.jsonl"):
            list(read([path], format_name))


def test_a_link_that_leads_nowhere_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(LogError, match="/a: the link leads to no file"):
        list(read([tmp_path / "a"]))


def test_binary_junk_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "junk.bin"
    path.write_bytes(bytes(range(256)) * 200)
    for format_name in ("auto", "jsonl", "bedrock", "azure-apim"):
        with pytest.raises(LogError, match=r"junk.bin: no line could be read"):
            list(read([path], format_name))


def test_file_of_which_every_cell_is_bad_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.jsonl", good(1, input_tokens=-1), good(2, time="soon"))
    with pytest.raises(LogError, match=r"bad\.jsonl: no line could be read; .*:1: 'input_tok"):
        list(read([path, write(tmp_path / "fine.jsonl", good(3))]))


def test_rejects_are_listed_in_the_order_of_the_files_and_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 1 << 20)
    lines: list[dict[str, Any] | bytes] = [good(1), good(2, input_tokens=-1), b"{"]
    lines += [good(3), good(4, time="soon"), b'{"prompt": "', good(5)]
    lines += [good(6, prompt="x" * (3 << 20)), good(7, input_tokens=-2), b"not JSON", good(8)]
    paths = [write(tmp_path / name, *lines) for name in ("b.jsonl", "a.jsonl")]
    paths.append(tmp_path / "cut.jsonl.gz")
    paths[2].write_bytes(gzip.compress(paths[0].read_bytes() * 3, mtime=0)[:-12])
    listing = tmp_path / "rejects.jsonl"
    with Rejects(listing) as rejects:
        for rows in (3, 8192):  # a second reading is listed after the first, as it was
            list(read(paths, rejects=rejects, batch_rows=rows))
    told = [(entry["file"], entry["line"]) for entry in map(orjson.loads, listing.read_bytes().splitlines())]
    bad = [2, 3, 5, 6, 8, 9, 10]
    whole = [(str(path), line) for path in paths[:2] for line in bad]
    first, second = told[: len(told) // 2], told[len(told) // 2 :]
    assert first == second
    assert first[: len(whole)] == whole
    assert first[len(whole) :] == sorted(first[len(whole) :])
    assert len(told) == rejects.total


def test_huge_line_is_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "huge.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(orjson.dumps(good(1)) + b'\n{"prompt": "')
        for _ in range(128):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + orjson.dumps(good(2)) + b"\n")
    rejects = Rejects()
    tracemalloc.start()
    assert ids(path, rejects) == ["r1", "r2"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert rejects.messages() == [f"{path}:2: a line must be at most 1 MiB, got {128 * (1 << 20) + 14} bytes"]


def test_deep_nesting(tmp_path: Path) -> None:
    deep = b'{"prompt": "p", "account_id": "a", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    near = b'{"account_id": "a", "prompt": "p", "tools": ' + b"[" * 900 + b"]" * 900 + b"}"
    named = near.replace(b"{", b'{"request_id": "n", ')
    rejects = Rejects()
    assert ids(write(tmp_path / "deep.jsonl", good(1), deep, near, named, good(2)), rejects) == ["r1", "r2"]
    assert rejects.counts == {"JSON must be nested at most 250 deep": 3}


def test_invalid_utf8_is_rejected_and_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    rejects = Rejects()
    path = write(
        tmp_path / "text.jsonl",
        b'{"request_id": "bad", "account_id": "a", "prompt": "\xff"}',
        b'{"request_id": "lone", "account_id": "a", "prompt": "\\ud83d x \\udc00 \\ud83d\\ude00 \\\\ud800"}',
        b'{"request_id": "end", "account_id": "a", "prompt": "\\ud800\\ud800"}',
        b'{"request_id": "nul", "account_id": "a", "prompt": "a\\u0000b"}',
    )
    rows = {row["request_id"]: row["prompt"] for row in rows_of(read([path], rejects=rejects))}
    mark = "\N{REPLACEMENT CHARACTER}"
    assert rows == {"lone": f"{mark} x {mark} \N{GRINNING FACE} \\ud800", "end": mark * 2, "nul": "a\x00b"}
    assert rejects.total == 1


@pytest.mark.parametrize(
    ("cell", "value", "rule"),
    [
        ("input_tokens", -1, "whole number"),
        ("input_tokens", 1.5, "whole number"),
        ("output_tokens", 2**63, "whole number"),
        ("seed", 10**30, "whole number"),
        ("n", True, "whole number"),
        ("temperature", "hot", "finite number"),
        ("temperature", "nan", "finite number"),
        ("latency_ms", -1, "finite number"),
        ("prompt", ["x"], "text"),
        ("account_id", {"id": 1}, "text or a whole number"),
        ("logprobs", "perhaps", "true or false"),
        ("messages", "hi", "list of messages"),
        ("sampling_rate", 0, "finite number"),
        ("time", "03/04/24", "RFC 3339"),
        ("time", "1999-12-31T23:59:59Z", "2000 to 2100"),
        ("time", "9999-12-31T23:59:59Z", "2000 to 2100"),
        ("time", 12345, "2000 to 2100"),
        ("time", True, "RFC 3339"),
        ("label_probs", [1], "label and prob"),
    ],
)
def test_bad_cell_costs_its_line_only(tmp_path: Path, cell: str, value: Any, rule: str) -> None:
    rejects = Rejects()
    line = json.dumps(good(2, **{cell: value})).encode()
    path = write(tmp_path / "cells.jsonl", good(1), line, good(3))
    assert ids(path, rejects) == ["r1", "r3"]
    (message,) = rejects.messages()
    assert message.startswith(f"{path}:2: '{cell}' must be")
    assert rule in message
    assert ", got " in message


def test_times_of_all_kinds_are_one_time(tmp_path: Path) -> None:
    written: list[Any] = ["2026-01-15T10:45:00Z", "2026-01-15T12:45:00+02:00", "2026-01-15 10:45:00"]
    written += ["2026-01-15T10:45:00.000000000Z", "2026-01-15 10:45:00 UTC", 1768473900, 1768473900.0]
    written += [1768473900_000, 1768473900_000_000, 1768473900_000_000_000, "1768473900", "1768473900.0"]
    path = write(
        tmp_path / "times.jsonl", *(good(i, time=t) for i, t in enumerate(written)), good(99, time=None)
    )
    rows = rows_of(read([path]))
    assert {row["time"] for row in rows[:-1]} == {"2026-01-15T10:45:00+00:00"}
    assert "time" not in rows[-1]
    assert len(rows) == len(written) + 1


def test_ids_are_stable_and_duplicates_are_left_to_scoring(tmp_path: Path) -> None:
    anonymous = [{"account_id": "a", "prompt": f"p{i}"} for i in range(5)]
    whole = ids(write(tmp_path / "whole.jsonl", *anonymous))
    write(tmp_path / "part1.jsonl", *anonymous[:2])
    write(tmp_path / "part2.jsonl", b'{"prompt":  "p2", "account_id": "a"}', *anonymous[3:])
    cut = [row["request_id"] for row in rows_of(read([tmp_path / "part*.jsonl"]))]
    assert cut == whole
    assert len(set(whole)) == 5
    assert ids(write(tmp_path / "twice.jsonl", good(1), good(1), good(1, unknown={"x": []}))) == ["r1"] * 3


def test_no_account_field_and_empty_account_are_null(tmp_path: Path) -> None:
    path = write(tmp_path / "who.jsonl", {"prompt": "p", "model": "m"}, {"prompt": "q", "account_id": ""})
    assert not any("account_id" in row for row in rows_of(read([path], "jsonl")))


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_truncated_compression_keeps_the_lines_before_the_cut(tmp_path: Path, packed: str) -> None:
    lines = [good(i, prompt=f"{i * 7919 % 1000003} " * 20) for i in range(20_000)]
    raw = write(tmp_path / "log.jsonl", *lines).read_bytes()
    data = gzip.compress(raw) if packed == "gzip" else zstandard.ZstdCompressor().compress(raw)
    path = tmp_path / "log.bin"
    path.write_bytes(data)
    assert len(ids(path)) == 20_000
    path.write_bytes(data[: len(data) // 2])
    rejects = Rejects()
    found = ids(path, rejects)
    assert found == [f"r{i}" for i in range(len(found))]
    assert 1_000 < len(found) < 20_000
    assert rejects.total == 1
    assert f"{path}:{len(found) + 1}: a compressed file must be whole" in rejects.messages()[0]


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_compression_cut_between_two_lines_is_told(tmp_path: Path, packed: str) -> None:
    """Frames of whole lines, the last of them without its end: every line is there, and yet the file is not whole."""
    raw = write(tmp_path / "log.jsonl", *(good(i) for i in range(100))).read_bytes()
    pack = gzip.compress if packed == "gzip" else zstandard.ZstdCompressor(write_checksum=True).compress
    path = tmp_path / "log.bin"
    path.write_bytes(pack(raw) + pack(raw.replace(b"r", b"s"))[:-2])
    rejects = Rejects()
    assert len(ids(path, rejects)) == 200
    assert [message.split("must")[1] for message in rejects.messages()] == [
        " be whole, got damage or an early end after line 200 (EOFError)"
    ]


def test_compressed_junk_is_named_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "junk.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(range(256)) * 9)
    with pytest.raises(LogError, match=r"no lines.*a compressed file must be whole"):
        list(read([path]))


def test_zstd_that_unfolds_to_much_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(orjson.dumps(good(1)) + b"\n" + b"0" * (1 << 29)))
    tracemalloc.start()
    rejects = Rejects()
    assert ids(path, rejects) == ["r1"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rejects.total == 1
    assert peak < 150 << 20  # of 512 MiB


def test_rejects_never_hold_content(tmp_path: Path) -> None:
    secret = "my secret prompt that must not be shown"
    path = write(tmp_path / "s.jsonl", good(1), good(2, prompt=[secret]), f'{{"prompt": "{secret}'.encode())
    with Rejects(tmp_path / "out.jsonl") as rejects:
        ids(path, rejects)
    assert rejects.total == 2
    assert "secret" not in (tmp_path / "out.jsonl").read_text() + "".join(rejects.messages())


def test_body_inside_a_body(tmp_path: Path) -> None:
    """Content cannot hide behind a lone surrogate in an inner body, and a body cut short is known as such."""

    def azure(number: int, body: str) -> dict[str, Any]:
        properties = {"modelName": "m", "requestBody": body}
        return {"category": "RequestResponse", "correlationId": f"c{number}", "properties": properties}

    whole = json.dumps({"messages": [{"role": "user", "content": "\ud800 hidden"}]})
    path = write(tmp_path / "azure.json", azure(1, whole), azure(2, whole[:-9]))
    first, second = rows_of(read([path]))
    assert first["prompt"] == "\N{REPLACEMENT CHARACTER} hidden"
    assert (second["truncated"], second["content_missing"]) == (True, True)
    assert not first["truncated"]


def test_indented_json_with_an_endless_string_takes_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "slow.json"
    path.write_bytes(b'{\n "a": "' + b'\\"' * 2_000_000 + b"\n}\n")
    with pytest.raises(LogError, match=r"slow\.json"):
        list(read([path]))


def test_joins_hold_little_in_memory(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "x" * 8000}]}
    result: dict[str, Any] = {
        "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "y"}}]}}
    }
    path = tmp_path / "batch.jsonl"
    with path.open("wb") as file:
        for number in range(8_000):
            file.write(orjson.dumps({"custom_id": f"r{number}", "body": body}) + b"\n")
        for number in range(8_000):
            file.write(orjson.dumps({"custom_id": f"r{number}", **result}) + b"\n")
    tracemalloc.start()
    rows = sum(batch.num_rows for batch in read([path], batch_rows=256))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 8_000
    assert peak < 40 << 20  # the file has 66 MB


def test_gateway_noise_is_no_exchange(tmp_path: Path) -> None:
    rejects = Rejects()
    path = write(tmp_path / "noise.jsonl", {"level": "info", "msg": "started"}, good(1), good(2, time=""))
    assert ids(path, rejects) == ["r1", "r2"]
    assert (rejects.total, rejects.skipped) == (0, 1)
    only = write(tmp_path / "only.jsonl", {"level": "info"})
    with pytest.raises(LogError, match="1 records are of another kind"):
        list(read([only], "jsonl"))


def test_absurd_sequence_numbers_cost_nothing(tmp_path: Path) -> None:
    rows = [{"CorrelationId": "k", "SequenceNumber": n, "RequestMessages": "x"} for n in (1, 10**18)]
    (row,) = rows_of(read([write(tmp_path / "apim.jsonl", *rows)]))
    assert row["truncated"]
