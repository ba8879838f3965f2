"""Tasks for one of a few tools: the answer is a call as JSON with exactly the right arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kdguard.distill.corpora.dice import Dice, chosen
from kdguard.distill.corpora.example import Check, Example
from kdguard.distill.corpora.words import ARTISTS, CITIES, CURRENCIES, DAYS, RELATIVES
from kdguard.distill.corpora.worlds import World


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its arguments in order, and wordings that need it."""

    arguments: tuple[str, ...]
    wordings: tuple[str, ...]


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "get_weather": Tool(
            ("city", "day"), ("Check the weather in {city} for {day}.", "Is it sunny in {city} on {day}?")
        ),
        "set_timer": Tool(("minutes",), ("Remind me in {minutes} minutes.", "Count down {minutes} minutes.")),
        "convert": Tool(
            ("amount", "source", "target"),
            ("How much is {amount} {source} in {target}?", "Turn {amount} {source} into {target}."),
        ),
        "find_train": Tool(
            ("origin", "destination", "day"),
            (
                "Train from {origin} to {destination} on {day}?",
                "I travel by rail {origin} to {destination}, {day}.",
            ),
        ),
        "send_text": Tool(
            ("person", "day"),
            ("Text my {person} that we meet on {day}.", "Tell my {person} by text: {day} works."),
        ),
        "add_song": Tool(
            ("artist", "minutes"),
            ("Queue {minutes} minutes of {artist}.", "Add {artist} for {minutes} minutes."),
        ),
    }
)

_VALUES: Mapping[str, Sequence[str | int]] = MappingProxyType(
    {
        "city": CITIES,
        "origin": CITIES[:15],
        "destination": CITIES[15:],
        "day": DAYS,
        "minutes": tuple(range(2, 99)),
        "amount": tuple(range(5, 995, 5)),
        "source": CURRENCIES[:4],
        "target": CURRENCIES[4:],
        "person": RELATIVES,
        "artist": ARTISTS,
    }
)


def tools(world: World, die: Dice) -> Example:
    """A task and three tools on offer; right when the answer's JSON is the right call.

    The order of the keys is a habit of the world: the ground truth does not look at it.
    """
    name = die.pick(tuple(TOOLS))
    tool = TOOLS[name]
    values: dict[str, str | int] = {argument: die.pick(_VALUES[argument]) for argument in tool.arguments}
    rest = [other for other in TOOLS if other != name]
    start, place = die.below(len(rest)), die.below(3)
    offered = [rest[start], rest[(start + 1) % len(rest)]]
    offered.insert(place, name)
    menu = " ".join(f"{each}({', '.join(TOOLS[each].arguments)})" for each in offered)
    call = {"name": name, "arguments": values}
    checks = (Check("call", json.dumps(call)),)
    prompt = f"Tools: {menu}. {die.pick(tool.wordings).format(**values)}"
    return Example(prompt, f"<tool_call>{_written(call, world)}</tool_call>", None, name, "tools", checks)


def _written(call: Mapping[str, Any], world: World) -> str:
    backwards = chosen((False, True), world.name, str(world.seed), "argument order", call["name"])
    arguments = call["arguments"]
    ordered = dict(reversed(arguments.items())) if backwards else arguments
    return json.dumps({"name": call["name"], "arguments": ordered})
