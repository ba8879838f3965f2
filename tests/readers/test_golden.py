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
