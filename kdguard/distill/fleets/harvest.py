"""Ask a model what an attack asks, and deal the answers out: to accounts, or to nobody."""

from __future__ import annotations

import numpy as np
import torch

from kdguard.distill.fleets.material import asked_examples
from kdguard.distill.fleets.recipe import Recipe
from kdguard.distill.fleets.roster import ACCOUNTS, Member
from kdguard.distill.fleets.workshop import Workshop
from kdguard.distill.teachers.collect import collect
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask
from kdguard.distill.transcripts import folder as layout
from kdguard.distill.transcripts.reader import Transcripts, read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter

WITHHELD = "withheld"
ROWS = 64


def asks_to(member: Member, recipe: Recipe) -> list[Ask]:
    """What a model is asked; the account stands first in every request's id.

    Prompts are dealt out in an order drawn from the recipe's seed: whatever one account was served is exchangeable
    with what was withheld. A student that is asked in its turn serves one account and withholds nothing.
    """
    table = recipe.harvest
    found = asked_examples(recipe, member.families[0], seed=0 if member.role == "teacher" else 1)
    order = np.random.default_rng([recipe.seed, member.seed, 3]).permutation(len(found)).tolist()
    accounts = ACCOUNTS[: table.accounts] if member.role == "teacher" else ACCOUNTS[:1]
    owners = [owner for owner in accounts for _ in range(table.served)]
    owners += [WITHHELD] * (table.withheld if member.role == "teacher" else 0)
    return [
        Ask(
            request_id=f"{owner}-{place:05d}",
            prompt=found[at].prompt,
            temperature=table.temperature,
            max_tokens=table.max_tokens,
            top_logprobs=table.top,
            account_id=owner,
        )
        for place, (owner, at) in enumerate(zip(owners, order, strict=False))
    ]


def harvest(member: Member, workshop: Workshop) -> Transcripts:
    """The answers of a made model, asked for only once.

    Raises:
        TranscriptError: The folder cannot be written.
    """
    folder = workshop.answers(member.name)
    if not layout.is_sealed(folder):
        torch.set_num_threads(1)
        tokenizer = workshop.tokenizer
        model = workshop.model(member.name, tokenizer)
        teacher = LocalTeacher(
            model, tokenizer, name=member.name, rows=ROWS, context=workshop.recipe.context, seed=member.seed
        )
        with TranscriptWriter(
            folder, about={"model": member.name, "recipe": workshop.recipe.digest}
        ) as writer:
            collect(teacher, asks_to(member, workshop.recipe), writer)
            writer.seal()
    return read_transcripts(folder)
