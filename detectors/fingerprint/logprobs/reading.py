"""Reading a model folder: how likely it finds given answers. Needs the extra [distill]."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kdguard.errors import LineageError
from kdguard.readers.handed import must_have


def read_model(folder: Path, texts: pd.DataFrame, name: str) -> pd.DataFrame:
    """Log-probability of each answer and its end, given its prompt, under a model.

    Args:
        folder: A model folder, safetensors.
        texts: `text_id, prompt, text`, or exchanges (`request_id, prompt, response`); perhaps `system`.
        name: Name of the model.

    Returns:
        `model, text_id, logprob, tokens`; texts without an answer are left out.

    Raises:
        ModelError: The folder is not safe to load.
        LineageError: A column is missing, or no answer is left.
    """
    from kdguard.distill.fleets.readings import likelihoods
    from kdguard.distill.models import load_model, load_tokenizer
    from kdguard.distill.students.documents import Pair, ask, documents_of_pairs

    renamed = {"request_id": "text_id", "response": "text"}
    told = texts.rename(columns={old: new for old, new in renamed.items() if new not in texts.columns})
    must_have(list(told.columns), ("text_id", "prompt", "text"), "texts", LineageError)
    told = told.dropna(subset=["prompt", "text"])
    told = told[told["text"].str.strip() != ""].drop_duplicates("text_id")
    if told.empty:
        raise LineageError("there is no text with a prompt and an answer")
    systems = told["system"].tolist() if "system" in told.columns else [None] * len(told)
    tokenizer = load_tokenizer(folder)
    rows = zip(told["prompt"], told["text"], systems, strict=True)
    pairs = [
        Pair(ask(prompt, system if isinstance(system, str) else None), text) for prompt, text, system in rows
    ]
    documents = documents_of_pairs(pairs, tokenizer)
    found = likelihoods(load_model(folder), documents)
    return pd.DataFrame(
        {
            "model": name,
            "text_id": told["text_id"].to_numpy(),
            "logprob": found,
            "tokens": [int((document.weights > 0).sum()) for document in documents],
        }
    )
