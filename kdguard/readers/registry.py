"""All wire formats by name, most specific first: sniffing takes the first that matches."""

from __future__ import annotations

from kdguard.readers.formats import (
    anthropic,
    azure_apim,
    azure_openai,
    batches,
    bedrock,
    flat,
    glasswally,
    helicone,
    kong,
    langfuse,
    litellm,
    openai,
    otel,
    vertex,
)
from kdguard.readers.formats.columnar import PARQUET
from kdguard.readers.reader import JsonReader, Reader

_JSON: tuple[JsonReader, ...] = (
    bedrock.READER,
    vertex.READER,
    azure_openai.READER,
    azure_apim.READER,
    otel.READER,
    litellm.READER,
    kong.READER,
    helicone.READER,
    langfuse.READER,
    langfuse.LEGACY,
    batches.OPENAI,
    batches.ANTHROPIC,
    anthropic.READER,
    openai.READER,
    openai.STORED,
    glasswally.READER,
    flat.READER,
)

FORMATS: dict[str, Reader] = {reader.name: reader for reader in (*_JSON, PARQUET)}
