"""Does the log link name the accounts of a real attack, and no other customer?

    python -m tests.bench.lineage_served --out OUT --requests 1200

Runs of `kdguard simulate attack` on one teacher: an attack through several accounts, whose student is the suspect;
ordinary customers with the same kind of prompts, through as many accounts; and other thieves, whose students are clean
models. Every prompt of the first two runs is answered once more for nobody, at the same temperature: of the two answers
chance decided which was served. Accounts are ranked by what `kdguard lineage served` does.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kdguard.detectors.fingerprint.logprobs.reading import read_model
from kdguard.detectors.fingerprint.served import Settings, rank_accounts, served_of
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask
from kdguard.simulate.attack.recipe import recipe_from
from kdguard.simulate.attack.run import run_attack

TEACHER = Path(__file__).parents[2] / "fixtures" / "models" / "aurora"
MAX_TOKENS = 48
RECIPE = """
name = "{name}"
seed = {seed}
[teacher]
kind = "folder"
path = "{teacher}"
[budget]
requests = {requests}
[ask]
max_tokens = {max_tokens}
[prompts]
world = "aurora"
[[tactics]]
tactic = "T1"
strength = 1.0
accounts = {accounts}
[student]
shape = "{shape}"
steps = {steps}
learning_rate = 3e-3
seed = {seed}
"""


def main() -> None:
    """One JSON line an account, and a line of counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=1200)
    parser.add_argument("--accounts", type=int, default=6)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--shape", default="tiny")
    parser.add_argument("--clean", type=int, default=4)
    parser.add_argument("--deals", type=int, default=9_999)
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    runs = {"thief": 1, "customer": 2} | {f"clean-{at}": 10 + at for at in range(given.clean)}
    for name, seed in runs.items():
        recipe = recipe_from(_recipe(name, seed, given))
        run_attack(recipe, given.out / name)
    texts = pd.concat([_served(given.out / name, name) for name in ("thief", "customer")])
    texts = pd.concat([texts, _twins(texts)], ignore_index=True)
    models = {name: given.out / name / "student" for name in runs if name != "customer"}
    readings = pd.concat([read_model(folder, texts, name) for name, folder in models.items()])
    texts["tokens"] = (
        readings[readings["model"] == "thief"]
        .set_index("text_id")["tokens"]
        .reindex(texts["text_id"])
        .to_numpy()
    )
    clean = [name for name in models if name != "thief"]
    together = texts.assign(account=texts["account"].str.partition("/")[0])
    for group in (texts, together):
        _rank(group, readings, clean, given.deals)
    print(json.dumps({"cpu_s": round(time.process_time() - began, 1)}))


def _rank(texts: pd.DataFrame, readings: pd.DataFrame, clean: list[str], deals: int) -> None:
    """Rank accounts, or groups of them taken together."""
    found = rank_accounts(served_of(texts, readings, "thief", clean), "thief", Settings(deals=deals))
    for one in found:
        print(json.dumps(one.to_json("thief", 0.01)))
    named = [one.account for one in found if one.p_adjusted is not None and one.p_adjusted <= 0.01]
    told = {
        "accounts": len(found),
        "thieves": sum(one.account.startswith("thief") for one in found),
        "thieves_named": sum(name.startswith("thief") for name in named),
        "customers_named": sum(name.startswith("customer") for name in named),
    }
    print(json.dumps(told))


def _recipe(name: str, seed: int, given: argparse.Namespace) -> str:
    return RECIPE.format(
        name=name,
        seed=seed,
        teacher=TEACHER,
        requests=given.requests,
        accounts=given.accounts,
        steps=given.steps,
        shape=given.shape,
        max_tokens=MAX_TOKENS,
    )


def _served(folder: Path, name: str) -> pd.DataFrame:
    """What the accounts of a run were served; a stratum a prompt."""
    log = pd.read_parquet(folder / "exchanges.parquet")
    log = log[log["response"].fillna("").str.strip() != ""].drop_duplicates("prompt")
    return pd.DataFrame(
        {
            "text_id": name + "/" + log["request_id"],
            "account": name + "/" + log["account_id"],
            "stratum": name + "/" + log["request_id"],
            "prompt": log["prompt"],
            "system": log["system"],
            "text": log["response"],
        }
    )


def _twins(texts: pd.DataFrame) -> pd.DataFrame:
    """The same prompts answered once more, for nobody; answers that came out alike tell nothing and are left out."""
    asks = [
        Ask(
            request_id=str(row.text_id),
            prompt=str(row.prompt),
            system=row.system if isinstance(row.system, str) else None,
            temperature=1.0,
            max_tokens=MAX_TOKENS,
        )
        for row in texts.itertuples()
    ]
    answers: dict[str, Any] = {
        answer.request_id: answer.response for answer in LocalTeacher.load(TEACHER, seed=99).answer(asks)
    }
    made = texts.assign(account=None, text=texts["text_id"].map(answers), text_id="twin/" + texts["text_id"])
    return made[(made["text"] != texts["text"]) & made["text"].notna()]


if __name__ == "__main__":
    main()
