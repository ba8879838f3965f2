"""What every format owes: bad lines are counted and named, and cost no good line."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdguard.errors import LogError
from kdguard.readers import FORMATS, Reader, Rejects, formats, read
from tests.readers.log_samples import LOGS, SAMPLES, rows_of

BAD_LINES = [b"{not json", b"\x00\x01\xff\xfe", b"[1, 2", b"42", b'"text"', b"null", b"NaN", b'{"a": 1e999}']
JOINED = ("azure-apim", "openai-batch", "anthropic-batch", "langfuse-legacy")
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


FORMAT_FILES = sorted(Path(formats.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("name", FORMATS)
def test_format_is_a_reader(name: str) -> None:
    reader = FORMATS[name]
    assert isinstance(reader, Reader)
    assert reader.name == name
    assert reader.about
    assert not reader.matches({})


@pytest.mark.parametrize("path", FORMAT_FILES, ids=lambda path: path.stem)
def test_format_documents_its_fallbacks(path: Path) -> None:
    head = path.read_text(encoding="utf-8").split('"""')[1]
    if path.stem not in ("__init__", "envelope"):
        assert "Account" in head
        assert "ession" in head


@pytest.mark.parametrize("name", SAMPLES)
def test_bad_lines_are_named_and_no_good_line_is_lost(name: str, tmp_path: Path) -> None:
    files, format_name = SAMPLES[name]
    expected = rows_of(read([LOGS / file for file in files], format_name))
    mixed: list[Path] = []
    bad_places: set[str] = set()
    for file in files:
        out: list[bytes] = []
        good = (LOGS / file).read_bytes().splitlines()
        for number, line in enumerate(good):
            out += [line, BAD_LINES[number % len(BAD_LINES)]]
        mixed.append(tmp_path / file)
        mixed[-1].write_bytes(b"\n".join(out) + b"\n")
        bad_places |= {f"{mixed[-1]}:{2 * number + 2}" for number in range(len(good))}
    listing = tmp_path / "rejects.jsonl"
    with Rejects(listing) as rejects:
        rows = rows_of(read(mixed, format_name, rejects=rejects))
    assert rows == expected
    entries = [orjson.loads(line) for line in listing.read_bytes().splitlines()]
    assert {f"{entry['file']}:{entry['line']}" for entry in entries} == bad_places
    assert rejects.total == len(bad_places)
    assert all(set(entry) == {"file", "line", "reason", "bytes"} for entry in entries)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "parquet"])
def test_any_json_object_is_survived(name: str, tmp_path: Path) -> None:
    """Records of any shape under the format's own keys: a row or a reject, never an exception."""
    sample = next(files for key, (files, _) in SAMPLES.items() if key.startswith(name))
    record = orjson.loads((LOGS / sample[0]).read_bytes().splitlines()[0])
    (tmp_path / "pristine.jsonl").write_bytes(orjson.dumps(record))
    pristine = rows_of(read([tmp_path / "pristine.jsonl"], name))
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_keys(record)), inner),
        max_leaves=8,
    )

    @QUIET
    @given(st.dictionaries(st.sampled_from(sorted(record)), junk, max_size=4))
    def survives(changes: dict[str, object]) -> None:
        path = tmp_path / "log.jsonl"
        lines = [record | changes, record]
        path.write_bytes(b"\n".join(json.dumps(line).encode() for line in lines))
        try:
            rows = rows_of(read([path], name))
        except LogError:
            rows = []
        # Where records are joined, the two share a key, and the good one may go with the bad one.
        assert name in JOINED or rows[-len(pristine) :] == pristine

    survives()


def _keys(record: object) -> list[str]:
    found = {"role", "content", "text", "type", "messages", "choices", "usage", "parts"}
    stack = [record]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            found |= set(node)
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return sorted(found)


@QUIET
@given(st.lists(st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")), max_size=12))
def test_junk_between_good_lines(tmp_path_factory: pytest.TempPathFactory, junk: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.jsonl"
    out = [b'{"request_id": "first", "account_id": "a", "prompt": "p"}']
    for number, line in enumerate(junk):
        out += [line, orjson.dumps({"request_id": f"r{number}", "account_id": "a", "prompt": "p"})]
    path.write_bytes(b"\n".join([*out, b'{"request_id": "last", "account_id": "a", "prompt": "p"}']))
    rejects = Rejects()
    found = [row["request_id"] for row in rows_of(read([path], "jsonl", rejects=rejects))]
    assert [name for name in found if not name.startswith("b2-")] == [
        "first",
        *(f"r{number}" for number in range(len(junk))),
        "last",
    ]
