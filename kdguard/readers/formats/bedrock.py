"""Amazon Bedrock model-invocation logs (S3 and CloudWatch), also as flattened by log platforms.

Bodies may be objects, JSON text, lists of chunks (streaming), or keys with dots; bodies that were put
aside to S3 are ``content_missing``.

Account: the ARN of the caller (``identity.arn``), else ``accountId``. Organisation: ``accountId``.
Session: the session name of an assumed role, which applications often set to their own end user.
Addresses and user agents stand only in CloudTrail.
"""

from __future__ import annotations

from collections.abc import Iterator

from kdguard.readers.dialects.content import at, first, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick

_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("requestId",),
    "time": ("timestamp",),
    "account_id": ("identity.arn", "accountId"),
    "org_id": ("accountId",),
    "session_id": ("requestMetadata.session_id", "requestMetadata.sessionId"),
    "model": ("modelId",),
    "endpoint": ("operation",),
    "status": ("statusCode",),
    "input_tokens": ("input.inputTokenCount",),
    "output_tokens": ("output.outputTokenCount",),
}


def _match(record: Record) -> bool:
    if record.get("schemaType") == "ModelInvocationLog":
        return True
    return "modelId" in record and "requestId" in record and "operation" in record


def _nested(record: Record, root: str) -> object:
    """A body, or what a flattening platform left of it: all keys below ``root``, put in order again."""
    body = at(record, root)
    if body is not None:
        return unwrapped(body)
    flat = {key[len(root) + 1 :]: value for key, value in record.items() if key.startswith(root + ".")}
    return _unflatten(flat) if flat else None


def _unflatten(flat: Record) -> object:
    tree: dict[str, object] = {}
    for key in sorted(flat):
        node = tree
        *folders, leaf = key.split(".")
        for folder in folders[:32]:
            below = node.setdefault(folder, {})
            if not isinstance(below, dict):
                break
            node = below
        else:
            node[leaf] = unwrapped(flat[key])
    return _as_lists(tree)


def _as_lists(node: object) -> object:
    """Objects whose keys are 0, 1, 2, … were lists before they were flattened."""
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_as_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _as_lists(value) for key, value in node.items()}


def _exchanges(record: Record) -> Iterator[Row]:
    row = pick(record, _PATHS)
    arn = at(record, "identity.arn")
    if "session_id" not in row and isinstance(arn, str) and ":assumed-role/" in arn:
        row["session_id"] = arn.rpartition("/")[2]
    code = first(record, "errorCode", "error.code")
    if code and "status" not in row:
        row["status"] = 429 if "Throttl" in str(code) else 400
    request = _nested(record, "input.inputBodyJson")
    return exchanges(request, _nested(record, "output.outputBodyJson"), row)


READER = JsonReader(
    name="bedrock", about="Amazon Bedrock model-invocation logs", match=_match, exchanges=_exchanges
)
