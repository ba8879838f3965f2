"""From the body of a request to an acknowledged, durable, encrypted record.

- `bodies`: compressed and uncompressed, within limits; `reading`: NDJSON, Arrow and OTLP to exchanges
- `sealing`: exchanges encrypted under their accounts' keys; `journal`: append-only segments, synced before the answer
"""
