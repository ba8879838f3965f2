"""CSV and TSV with a header row, in the formats that know their columns and by a mapping."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from kdguard.errors import LogError
from kdguard.readers import Rejects, read, sniff
from tests.readers.log_samples import LOGS, rows_of

HEADER = [
    "request_id",
    "time",
    "account_id",
    "model",
    "prompt",
    "messages",
    "response",
    "status",
    "logprobs",
    "eu",
]
TURNS = '[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Ça va ?"}]'
ROWS = [
    [
        "r-1",
        "2026-01-15T10:45:00Z",
        "acct-1",
        "m",
        'What is "TCP",\n\nand\r\nwhy; so?',
        "",
        "x",
        "200",
        "true",
        "",
    ],
    ["r-2", "2026-01-15 12:45:00.25+02:00", "42", "m", "", TURNS, "Très bien.", "", "", "1"],
    ["", "1768473900", "acct-1", "", "[1] without\tan id", "", "y", "200", "0", ""],
]


def table(path: Path, rows: list[list[str]], delimiter: str = ",", header: list[str] | None = None) -> Path:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header or HEADER, *rows])
    path.write_bytes(text.getvalue().encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
def test_a_table_gives_the_exchanges_of_its_rows(tmp_path: Path, delimiter: str, before: bytes) -> None:
    path = table(tmp_path / "export.csv", ROWS, delimiter)
    path.write_bytes(before + path.read_bytes())
    rejects = Rejects()
    first, second, third = rows_of(read([path], rejects=rejects, batch_rows=2))
    assert rejects.total == 0, rejects.messages()
    assert rejects.of(str(path)).format == f"jsonl ({'TSV' if delimiter == chr(9) else 'CSV'})"
    assert (first["request_id"], first["status"], first["logprobs"]) == ("r-1", 200, True)
    assert first["prompt"] == 'What is "TCP",\n\nand\r\nwhy; so?'
    assert (second["account_id"], second["prompt"]) == ("42", "Ça va ?")
    assert second["time"] == first["time"].replace("00+00:00", "00.250000+00:00")
    assert "status" not in second
    assert third["prompt"] == "[1] without\tan id"
    assert third["time"] == first["time"]
    assert sniff(path) == "jsonl"


def test_bad_rows_are_named_by_the_line_they_begin_on_and_cost_no_good_one(tmp_path: Path) -> None:
    path = table(tmp_path / "export.csv", [ROWS[0], ROWS[1][:4], [*ROWS[1][:7], "much", "", ""], ROWS[2]])
    path.write_bytes(path.read_bytes() + b'r-9,,a,m,\xff,,,,,\r\nr-10,,a,m,fine,,,,,\r\nr-11,,a,m,"open')
    rejects = Rejects()
    found = [row["prompt"] for row in rows_of(read([path], rejects=rejects))]
    assert [text[:4] for text in found] == ["What", "[1] ", "fine"]
    told = sorted(message.removeprefix(f"{path}:") for message in rejects.messages())
    assert told == [
        "11: a row must have as many cells as the header, got 5 for 10",
        "6: a row must have as many cells as the header, got 4 for 10",
        "7: 'status' must be a whole number in [0, 999], got 'much'",
        "9: a row must be UTF-8, got other bytes",
    ]


def test_a_mapping_describes_a_table_with_odd_names(tmp_path: Path) -> None:
    mapping = tmp_path / "crm.toml"
    mapping.write_text(
        'name = "crm"\n[columns]\naccount_id = "Customer No."\ntime = "When"\nprompt = ["Question", "Q"]\n'
        'input_tokens = "usage.in"\n[constants]\nmodel = "m-large"\n'
    )
    header = ["Customer No.", "When", "Q", "usage.in", "Note"]
    path = table(tmp_path / "crm.csv", [["c 7", "2026-01-15T10:45:00Z", "Why?", "3", "n"]], ";", header)
    (row,) = rows_of(read([path], f"mapping:{mapping}"))
    assert (row["account_id"], row["prompt"], row["input_tokens"]) == ("c 7", "Why?", 3)
    assert (row["model"], row["source_format"]) == ("m-large", "crm")


def test_exports_of_other_formats_are_known_by_their_columns(tmp_path: Path) -> None:
    import orjson

    records: list[dict[str, Any]] = list(
        map(orjson.loads, (LOGS / "helicone.jsonl").read_bytes().splitlines())
    )
    header = sorted(set().union(*records))
    cells = [
        [
            value if isinstance(value := one.get(name, ""), str) else orjson.dumps(value).decode()
            for name in header
        ]
        for one in records
    ]
    path = table(tmp_path / "helicone.csv", cells, header=header)
    assert sniff(path) == "helicone"
    prompts = [row.get("prompt") for row in rows_of(read([LOGS / "helicone.jsonl"]))]
    assert [row.get("prompt") for row in rows_of(read([path]))] == prompts


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "accounts.csv",
            b"account_id,org_id,created_at,plan\na,o,2026-01-01,free\n",
            "accounts table.*--accounts",
        ),
        (
            "accounts.jsonl",
            b'{"account_id": "a", "plan": "free", "verified": true}\n',
            "accounts table.*--accounts",
        ),
        ("other.csv", b"Kunde,Frage\n1,Warum?\n", r"in a known format; .*mapping:FILE\.toml"),
        ("twice.csv", b"prompt,prompt,account_id\na,b,c\n", "in a known format"),
        ("utf16.csv", "account_id,prompt\na,b\n".encode("utf-16"), "UTF-16.*UTF-8.*iconv"),
        ("log.jsonl", '{"account_id": "a", "prompt": "p"}\n'.encode("utf-16-le"), "UTF-16.*UTF-8.*iconv"),
        ("log.xlsx", b"PK\x03\x04" + b"\x00" * 200, "ZIP archive or a spreadsheet.*CSV"),
    ],
)
def test_what_is_no_log_is_named_as_what_it_is(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LogError, match=said):
        list(read([path]))


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (
            '[columns]\naccout_id = "cust.no"\n',
            r"\[columns\] must name .*'accout_id', did you mean 'account_id'\?",
        ),
        ('account_id = "cust.no"\n', r"got 'account_id'; 'account_id' belongs under \[columns\]"),
        (
            '[columns]\nprompt = ["question", "text"]\n',
            r"none was as described in m\.toml, with a field question or text",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_says_why(tmp_path: Path, mapping: str, said: str) -> None:
    (tmp_path / "m.toml").write_text(mapping)
    (tmp_path / "log.jsonl").write_text('{"cust": {"no": 17}, "q": "How do I sort a list?"}\n' * 3)
    with pytest.raises(LogError, match=said):
        list(read([tmp_path / "log.jsonl"], f"mapping:{tmp_path / 'm.toml'}"))
