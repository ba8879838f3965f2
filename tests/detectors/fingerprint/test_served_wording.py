"""The log link by wording and over several accounts: who was learnt from is named, others no more often than stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdguard.detectors.fingerprint.served import Served, Settings, rank_accounts, served_by_wording, served_of
from kdguard.errors import LineageError
from tests.detectors.fingerprint.test_served import scene

WORDS = np.array([f"w{chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(120)])


def answered(
    copied: float, seed: int, accounts: int = 3, prompts: int = 40
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every prompt is answered twice, and chance says which was served; the suspect copies words served to a0."""
    rng = np.random.default_rng(seed)
    texts, answers = [], []
    for account in range(accounts):
        for number in range(prompts):
            prompt, usual = f"{account}-{number}", rng.choice(WORDS, 25)
            for twin, owner in enumerate((f"a{account}", None)):
                text = np.where(rng.random(25) < 0.4, rng.choice(WORDS, 25), usual)
                texts.append((f"{prompt}-{twin}", owner, prompt, " ".join(text)))
                if owner == "a0":
                    served = text
            for model in ("suspect", "clean-1", "clean-2"):
                said = np.where(rng.random(25) < 0.5, rng.choice(WORDS, 25), usual)
                if model == "suspect" and account == 0:
                    said = np.where(rng.random(25) < copied, served, said)
                answers.append((model, prompt, " ".join(said)))
    told = pd.DataFrame(texts, columns=["text_id", "account", "prompt", "text"])
    told["stratum"] = told["prompt"]
    return told, pd.DataFrame(answers, columns=["model", "prompt", "response"])


def p_values(table: Served, deals: int) -> dict[str, float]:
    ranked = rank_accounts(table, "suspect", Settings(deals=deals))
    return {one.account: 2.0 if one.p_adjusted is None else one.p_adjusted for one in ranked}


def by_wording(copied: float, seed: int, deals: int = 399) -> dict[str, float]:
    return p_values(served_by_wording(*answered(copied, seed), "suspect", ["clean-1", "clean-2"]), deals)


def test_words_of_what_was_served_name_the_account() -> None:
    found = by_wording(0.3, 1, deals=4_999)
    assert found["a0"] <= 0.01
    assert min(found["a1"], found["a2"]) > 0.01
    table = served_by_wording(*answered(0.3, 1), "suspect", ["clean-1"])
    told = rank_accounts(table, "suspect", Settings(deals=99))[0]
    assert told.evidence is not None
    assert "nearer in wording by a cosine of +0." in told.evidence.summary


def test_exchanges_serve_as_texts_whatever_columns_they_bear() -> None:
    """A log names the model that answered, as the table of answers does; its own answers are the texts."""
    texts, answers = answered(0.3, 1)
    log = texts.rename(columns={"text": "response", "account": "account_id"}).assign(model="teacher")
    told = served_by_wording(log, answers, "suspect", ["clean-1"])
    plain = served_by_wording(texts, answers, "suspect", ["clean-1"])
    assert p_values(told, 99) == p_values(plain, 99)


def test_a_suspect_that_copies_nobody_is_linked_at_most_at_the_stated_rate() -> None:
    """60 suspects, three accounts each, family-wise .05; 8 or more have chance 1 %."""
    assert sum(min(by_wording(0.0, 100 + seed).values()) <= 0.05 for seed in range(60)) < 8


def test_accounts_taken_together_find_what_none_tells_alone() -> None:
    """Seven accounts of one thief, 15 texts each: one p, named beforehand, against texts of nobody."""
    texts, readings = scene(0.0, 5, accounts=9, texts=15, twins=True)
    group = [f"a{at}" for at in range(7)]
    liked = texts.loc[texts["account"].isin(group), "text_id"]
    readings.loc[(readings["model"] == "suspect") & readings["text_id"].isin(liked), "logprob"] += 0.25
    table = served_of(texts, readings, "suspect", ["clean-1", "clean-2"])
    alone = p_values(table, 4_999)
    assert min(alone.values()) > 0.01
    assert set(alone) == {f"a{at}" for at in range(9)}
    both = p_values(table.together(group), 4_999)
    assert list(both) == ["+".join(group)]
    assert both["+".join(group)] <= 0.01
    assert p_values(table.together(["a7", "a8"]), 4_999)["a7+a8"] > 0.01
    with pytest.raises(LineageError, match="no text was served to account 'nobody'"):
        table.together(["a0", "nobody"])


def test_tables_without_a_common_prompt_or_model_are_refused() -> None:
    texts, answers = answered(0.0, 1)
    with pytest.raises(LineageError, match="both must have a column prompt_id, or both a column prompt"):
        served_by_wording(texts, answers.rename(columns={"prompt": "question"}), "suspect", [])
    with pytest.raises(LineageError, match="missing text"):
        served_by_wording(texts.drop(columns="text"), answers, "suspect", [])
    with pytest.raises(LineageError, match="no readings of model 'other'"):
        served_by_wording(texts, answers, "other", [])
    with pytest.raises(LineageError, match="no readings of model 'suspect'"):
        served_by_wording(texts, answers.assign(response=None), "suspect", [])
