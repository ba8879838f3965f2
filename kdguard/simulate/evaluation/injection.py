"""Replace some prompts of an honest account by those of an extraction campaign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdguard.simulate.campaign import Campaign
from kdguard.simulate.grammar import Half
from kdguard.simulate.pools import Pools
from kdguard.simulate.setting import draw_language
from kdguard.simulate.tactics import places
from kdguard.simulate.techniques import PAYLOAD_KINDS, WRAPPED, Script, languages_of, script


@dataclass(frozen=True)
class Injected:
    """One attack account.

    Attributes:
        host: Account whose requests these were.
        exchanges: Its exchanges, under a name of its own.
        labels: Truth about it.
    """

    host: str
    exchanges: pa.Table
    labels: dict[str, Any]


def inject(
    campaign: Campaign,
    skeletons: Sequence[pa.Table],
    requests: int,
    rng: np.random.Generator,
    prefix: str,
    split: Half,
    data: Path | None,
) -> Iterator[Injected]:
    """Make the accounts of one campaign.

    Args:
        campaign: What to run; one script for all its accounts.
        skeletons: Exchanges of honest accounts, each in order of time; drawn from with replacement.
        requests: Most requests of an account.
        rng: Source of everything drawn.
        prefix: Makes names unique.
        split: Half of the wordings.
        data: Folder with real prompts for techniques that send bare texts, or None.
    """
    language = campaign.language or draw_language(rng)
    if language not in languages_of(campaign.technique):
        language = "en"
    wording = script(campaign.technique, rng, split=split, language=language)
    name = f"{prefix}-{campaign.name}"
    for at in range(campaign.accounts):
        skeleton = skeletons[int(rng.integers(len(skeletons)))].slice(0, requests)
        chosen = places(rng, len(skeleton), campaign.mix, campaign.tactics.warm_up)
        payloads = _payloads(campaign.technique, len(chosen), skeletons, rng, language, split, data)
        written = _write(wording, payloads, rng, language, campaign.tactics.paraphrase)
        account = f"injected-{name}-{at}"
        yield Injected(
            host=str(skeleton.column("account_id")[0].as_py()),
            exchanges=_rewritten(skeleton, chosen.tolist(), written, account, campaign.technique),
            labels={
                "account_id": account,
                "owner_id": account,
                "campaign_id": name,
                "technique": campaign.technique,
                "mix": campaign.mix,
                "workload": "own log",
                "language": language,
                "tactics": str(campaign.tactics),
            },
        )


def _payloads(
    technique: str,
    count: int,
    skeletons: Sequence[pa.Table],
    rng: np.random.Generator,
    language: str,
    split: Half,
    data: Path | None,
) -> list[str]:
    """Prompts of one other account for worded techniques, the simulator's texts for bare ones."""
    if technique not in WRAPPED:
        kinds = PAYLOAD_KINDS[technique]
        pools = Pools("test" if split == "test" else "fit", data)
        return pools.draw(kinds[int(rng.integers(len(kinds)))], count, rng, language)
    for _ in range(20):
        source = skeletons[int(rng.integers(len(skeletons)))].column("prompt").drop_null().to_pylist()
        if source:
            return [source[at] for at in rng.integers(len(source), size=count).tolist()]
    return Pools("test" if split == "test" else "fit", data).draw("chat", count, rng, language)


def _write(
    wording: Script, payloads: list[str], rng: np.random.Generator, language: str, paraphrase: float
) -> list[str]:
    answers = Pools("test" if wording.split == "test" else "fit").draw(
        "answer", len(payloads) + 1, rng, language
    )
    return wording.write(payloads, answers, rng, paraphrase)


def _rewritten(
    table: pa.Table, chosen: list[int], prompts: list[str], account: str, technique: str
) -> pa.Table:
    """The same exchanges with new prompts at some places and a new account on all of them."""
    size = len(table)
    text = table.column("prompt").to_pylist()
    for place, prompt in zip(chosen, prompts, strict=True):
        text[place] = prompt
    changed: dict[str, pa.Array[Any]] = {
        "prompt": pa.array(text, pa.string()),
        "account_id": pa.array([account] * size, pa.string()),
        "org_id": pa.nulls(size, pa.string()),
        "key_hash": pa.nulls(size, pa.string()),
    }
    if technique == "logprob_harvest":
        asked = table.column("top_logprobs").to_pylist()
        for place in chosen:
            asked[place] = 10
        changed["top_logprobs"] = pa.array(asked, pa.int32())
    for name, column in changed.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    return table
