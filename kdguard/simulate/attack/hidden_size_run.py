"""Run a reading of a teacher's hidden size: the readings are the requests of a plan like any other attack's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import AttackError
from kdguard.simulate.attack.exact_readings import ExactReadings
from kdguard.simulate.attack.finish import about, finish
from kdguard.simulate.attack.hidden_size import HiddenSize, recover_hidden_size
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.sender import Sender
from kdguard.simulate.attack.stage import make_plan, make_stage, make_tactics, prompt_source
from kdguard.simulate.attack.tables import HiddenSizeTable
from kdguard.simulate.attack.teachers import Built, asked_by, build_teacher
from kdguard.simulate.seeds import stream

if TYPE_CHECKING:
    from kdguard.simulate.attack.run import Surroundings


def run_hidden_size(recipe: Recipe, out: Path, around: Surroundings) -> dict[str, Any]:
    """Run a recipe with a table `hidden_size`; see `kdguard.simulate.attack.run.run_attack`."""
    table = recipe.hidden_size or HiddenSizeTable()
    setting = make_stage(recipe, split=around.split, data=around.data)
    around.say("teacher", 0, 1)
    # one row at a time: what is decoded beside it would show in the last digits, and so would a run that went on
    built = build_teacher(recipe.teacher, seed=recipe.seed, cache=out / "teacher", rows=1)
    tactics = make_tactics(recipe, setting)
    plan = make_plan(recipe, setting, tactics)
    drawn = prompt_source(recipe, setting).draw(4 * table.prompts, stream(recipe.seed, "prompts"))
    prompts = list(dict.fromkeys(drawn))[: table.prompts]
    tokens, names = _tokens(table, built, recipe.seed)
    accounts = [one.account_id for one in plan.identities]
    with (
        asked_by(accounts, [built]) as (teacher,),
        TranscriptWriter(out, about=about(recipe)) as writer,
    ):
        exact = ExactReadings(teacher, out)
        sender = Sender(plan, exact, writer, lambda done, total: around.say("asking", done, total))
        found = recover_hidden_size(
            _Disguise(sender, exact),
            prompts,
            tokens,
            top_logprobs=table.top,
            bias=table.bias,
            least_gap=table.least_gap,
            token_bytes=names,
        )
        writer.seal()
        exact.settle()
    return finish(
        recipe,
        out,
        sender.plan,
        read_transcripts(out).exchanges,
        tactics=tactics,
        teachers=[built.about],
        stopped_by=None,
        found={"hidden_size": _record(found, len(prompts), len(tokens))},
    )


class _Disguise:
    """A teacher whose asks are sent as a plan's requests."""

    def __init__(self, sender: Sender, exact: ExactReadings) -> None:
        self._sender, self._exact, self.name = sender, exact, exact.name

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer each ask under its own id."""

        def change(place: int, planned: Ask) -> Ask:
            one = asks[place]
            return replace(
                planned,
                temperature=one.temperature,
                max_tokens=one.max_tokens,
                top_logprobs=one.top_logprobs,
                logit_bias=one.logit_bias,
            )

        for ask, answer in zip(asks, self._sender([ask.prompt for ask in asks], change), strict=True):
            yield replace(self._exact.exact(answer), request_id=ask.request_id)


def _tokens(table: HiddenSizeTable, built: Built, seed: int) -> tuple[list[int], Mapping[bytes, int]]:
    """Ids to read, none of which is special, and ids by bytes for APIs that name tokens so."""
    if built.tokenizer is None:
        raise AttackError(
            "hidden_size needs the teacher's tokenizer: set teacher.tokenizer to a folder that holds it"
        )
    from kdguard.distill.teachers.token_bytes import token_bytes

    pieces = token_bytes(built.tokenizer)
    special = set(built.tokenizer.all_special_ids)
    usable = [at for at, piece in enumerate(pieces) if piece and at not in special]
    if len(usable) < table.tokens:
        raise AttackError(
            f"hidden_size.tokens is {table.tokens}, and the tokenizer has {len(usable)} that can be read"
        )
    chosen = stream(seed, "tokens").permutation(len(usable))[: table.tokens]
    return [usable[place] for place in chosen.tolist()], {
        piece: at for at, piece in enumerate(pieces) if piece
    }


def _record(found: HiddenSize, prompts: int, tokens: int) -> dict[str, Any]:
    return {
        "size": found.size,
        "gap": found.gap,
        "channel": found.channel,
        "queries": found.queries,
        "prompts": prompts,
        "tokens": tokens,
        "singular_values": np.round(found.singular_values, 9).tolist(),
    }
