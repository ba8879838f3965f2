"""Every sample in fixtures/logs gives exactly the exchanges that stand beside it.

KDGUARD_UPDATE_GOLDENS=1 writes the expected files anew; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kdguard.exchanges.schema import EXCHANGES
from kdguard.readers import FORMATS, Rejects, read, sniff
from kdguard.readers.documents import Document
from kdguard.readers.pending import FLUSH_BYTES
from kdguard.readers.stream import read_documents
from tests.readers.log_samples import LOGS, SAMPLES, rows_of


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_gives_expected_exchanges(name: str) -> None:
    files, format_name = SAMPLES[name]
    rejects = Rejects()
    rows = rows_of(read([LOGS / file for file in files], format_name, rejects=rejects))
    assert rejects.total == 0, rejects.messages()
    golden = LOGS / f"{name}.expected.json"
    if os.environ.get("KDGUARD_UPDATE_GOLDENS"):
        golden.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    expected: list[dict[str, Any]] = json.loads(golden.read_text(encoding="utf-8"))
    assert rows == expected


@pytest.mark.parametrize("name", [n for n, (_, format_name) in SAMPLES.items() if format_name == "auto"])
def test_sample_is_sniffed(name: str) -> None:
    files, _ = SAMPLES[name]
    expected = next(f for f in sorted(FORMATS, key=len, reverse=True) if name.startswith(f))
    assert {sniff(LOGS / file) for file in files} == {expected}


@pytest.mark.parametrize("name", SAMPLES)
def test_batches_do_not_depend_on_their_size(name: str) -> None:
    files, format_name = SAMPLES[name]
    paths = [LOGS / file for file in files]
    whole = rows_of(read(paths, format_name))
    single = list(read(paths, format_name, batch_rows=1))
    assert all(batch.schema.equals(EXCHANGES, check_metadata=True) for batch in single)
    assert rows_of(single) == whole


def test_every_format_has_a_sample(tmp_path: Path) -> None:
    sampled = {sniff(LOGS / file) for files, name in SAMPLES.values() if name == "auto" for file in files}
    assert sampled | {"parquet"} == set(FORMATS)


def test_records_of_one_document_share_its_size() -> None:
    """A document's bytes count once, not for each of its records, so that batches stay large."""
    line = (LOGS / "otel.json").read_bytes().splitlines()[0]
    document = json.loads(line)
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[:] = [spans[0] | {"spanId": f"{at:016x}"} for at in range(100)]
    given = Document(1, FLUSH_BYTES // 2, document, None, b"")
    batches = list(read_documents([given], "otel", rejects=Rejects()))
    assert [batch.num_rows for batch in batches] == [100]
