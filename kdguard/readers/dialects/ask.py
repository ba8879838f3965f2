"""Request bodies to exchange columns: OpenAI, Anthropic, Gemini, Converse and the older Bedrock models.

The dialects differ in names, hardly in meaning, so one table serves them all. A body in no known dialect
yields an empty result, and the row is then marked ``content_missing`` rather than guessed.
"""

from __future__ import annotations

from typing import Any

from kdguard.readers.dialects.content import conversation, first, forks, last_user_turn, plain, system_text

# Column -> the names it goes by. Nested blocks are those of Gemini, Converse and Titan.
_NAMES: dict[str, tuple[str, ...]] = {
    "model": ("model", "modelId"),
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP"),
    "n": ("n", "candidateCount", "num_generations", "best_of"),
    "seed": ("seed",),
    "max_tokens": (
        "max_completion_tokens",
        "max_tokens",
        "max_output_tokens",
        "maxTokens",
        "maxOutputTokens",
        "max_gen_len",
        "maxTokenCount",
        "max_tokens_to_sample",
    ),
    "logit_bias": ("logit_bias",),
    "tools": ("tools", "functions", "toolConfig.tools"),
    "account_id": ("safety_identifier", "user", "metadata.user_id"),
    "session_id": ("conversation.id", "conversation", "metadata.session_id", "previous_response_id"),
}
_HEADS = {
    column: {name for path in names for name in (path, *(head for head, _ in forks(path)))}
    for column, names in _NAMES.items()
}
"""Keys of a body under which anything of a column can lie."""
_BLOCKS = ("generationConfig", "generation_config", "inferenceConfig", "textGenerationConfig")
_PROMPT_TEXTS = ("prompt", "inputText")
_SYSTEMS = ("system", "instructions", "systemInstruction", "system_instruction")


def ask(body: Any) -> dict[str, Any]:
    """Read a request body.

    Args:
        body: The decoded body, of any dialect; anything but an object or a list of messages yields {}.

    Returns:
        Raw values by exchange column; only those present. ``account_id`` is what the body itself says
        (``safety_identifier``, ``user``, ``metadata.user_id``); envelopes that know better overwrite it.
    """
    if isinstance(body, list):
        body = {"messages": body}
    if not isinstance(body, dict):
        return {}
    row: dict[str, Any] = {}
    blocks = [body, *(body[name] for name in _BLOCKS if isinstance(body.get(name), dict))]
    said = frozenset().union(*blocks)
    for column, names in _NAMES.items():
        if said.isdisjoint(_HEADS[column]):  # most columns of most requests
            continue
        for block in blocks:
            found = first(block, *names)
            if found is not None:
                row[column] = found
                break
    if isinstance(row.get("session_id"), dict):
        del row["session_id"]
    row |= _logprobs(body, blocks)
    return row | _content(body)


def _logprobs(body: dict[str, Any], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Chat has a bool and a count, completions a count, Gemini two fields, Responses ``include``."""
    row: dict[str, Any] = {}
    asked = next((block["logprobs"] for block in blocks if block.get("logprobs") is not None), None)
    top = body.get("top_logprobs")
    if isinstance(asked, int) and not isinstance(asked, bool):
        top = asked if top is None else top
        asked = True
    flagged = next((block["responseLogprobs"] for block in blocks if "responseLogprobs" in block), None)
    asked = flagged if flagged is not None else asked
    include = body.get("include")
    if isinstance(include, list) and any(isinstance(i, str) and i.endswith("logprobs") for i in include):
        asked = True
    if asked is not None:
        row["logprobs"] = asked
    if top is not None:
        row["top_logprobs"] = top
    return row


def _content(body: dict[str, Any]) -> dict[str, Any]:
    turns = next((body[key] for key in ("messages", "contents", "input") if body.get(key)), None)
    spoken = conversation(turns if isinstance(turns, list) else [turns] if turns else [])
    prompt = last_user_turn(spoken)
    if prompt is None:
        bare = next((body[key] for key in _PROMPT_TEXTS if body.get(key)), None)
        prompt = plain(bare)
        if prompt and not spoken:
            spoken = [{"role": "user", "content": prompt}]
    stated = next((plain(body[key]) for key in _SYSTEMS if body.get(key)), None)
    row: dict[str, Any] = {}
    if spoken:
        row["messages"] = spoken
    if prompt:
        row["prompt"] = prompt
    if system := stated or system_text(spoken):
        row["system"] = system
    return row
