"""What `kdguard serve` says when it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_it_tells_where_the_pages_are(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "kdguard", "serve", "--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first, second = process.stderr.readline(), process.stderr.readline()
        process.terminate()
        process.communicate()
    url = first.split()[2]
    assert url.startswith("http://127.0.0.1:")
    assert f"(pages for analysts: {url}/pages)" in first
    assert "kdg_" in second
