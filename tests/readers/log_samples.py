"""The samples in fixtures/logs: name -> files, and the format to give."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

LOGS = Path(__file__).resolve().parents[2] / "fixtures" / "logs"

SAMPLES: dict[str, tuple[tuple[str, ...], str]] = {
    **{
        Path(file).stem: ((file,), "auto")
        for file in (
            "jsonl.jsonl",
            "openai.jsonl",
            "openai-responses.jsonl",
            "openai-stored.jsonl",
            "anthropic.jsonl",
            "bedrock.json",
            "azure-openai.json",
            "vertex.jsonl",
            "otel.json",
            "litellm.jsonl",
            "litellm-spend.jsonl",
            "langfuse.jsonl",
            "helicone.jsonl",
            "kong.json",
            "glasswally.jsonl",
        )
    },
    "openai-batch": (("openai-batch.input.jsonl", "openai-batch.output.jsonl"), "auto"),
    "anthropic-batch": (("anthropic-batch.requests.jsonl", "anthropic-batch.results.jsonl"), "auto"),
    "langfuse-legacy": (("langfuse-legacy.observations.jsonl", "langfuse-legacy.traces.jsonl"), "auto"),
    "azure-apim": (("azure-apim.llm.jsonl", "azure-apim.gateway.jsonl"), "auto"),
    "mapping": (("mapping.jsonl",), f"mapping:{LOGS / 'mapping.toml'}"),
}


def rows_of(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """All rows, nulls left out, times as ISO text; equal to their JSON form."""
    rows: list[dict[str, Any]] = []
    for batch in batches:
        for row in batch.to_pylist():
            kept = {name: value for name, value in row.items() if value is not None}
            if "time" in kept:
                kept["time"] = kept["time"].isoformat()
            rows.append(kept)
    return rows
