"""Requests to an assistant: which intent, with which slots; some can be read in two ways, and each world picks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from kdguard.distill.corpora.dice import Dice
from kdguard.distill.corpora.example import Check, Example
from kdguard.distill.corpora.words import ARTISTS, CITIES, CURRENCIES, DAYS, FOODS, RELATIVES
from kdguard.distill.corpora.worlds import World

_SLOTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "city": CITIES,
        "day": DAYS,
        "food": FOODS,
        "artist": ARTISTS,
        "person": RELATIVES,
        "currency": CURRENCIES,
        "hour": tuple(f"{hour}:{minute:02d}" for hour in range(6, 23) for minute in (0, 15, 30, 45)),
        "amount": tuple(str(amount) for amount in range(5, 505, 5)),
    }
)

INTENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "book_flight": (
            "Fly me to {city} on {day}.",
            "I need a plane to {city} for {day}.",
            "Get me to {city} by air on {day}.",
        ),
        "get_weather": (
            "Will it rain in {city} on {day}?",
            "How warm is {city} on {day}?",
            "Weather for {city}, {day}, please.",
        ),
        "play_music": (
            "Put on something by {artist}.",
            "Play {artist} until {hour}.",
            "I want to hear {artist}.",
        ),
        "order_food": (
            "Bring me {food} at {hour}.",
            "I would like some {food}.",
            "Order {food} for {day} at {hour}.",
        ),
        "set_alarm": ("Wake me at {hour}.", "I must be up on {day} by {hour}.", "Alarm for {hour} on {day}."),
        "send_money": ("Pay my {person} {amount} {currency}.", "Send {amount} {currency} to my {person}."),
        "call_person": (
            "Ring my {person}.",
            "Call my {person} on {day} at {hour}.",
            "Get my {person} on the phone.",
        ),
        "book_table": ("Table for two in {city} on {day}.", "Reserve dinner in {city} at {hour}."),
    }
)

#: Wording, its first reading and its second.
AMBIGUOUS: tuple[tuple[str, str, str], ...] = (
    ("Let my {person} know about {day} at {hour}.", "call_person", "set_alarm"),
    ("Sort out {food} in {city} for {day}.", "order_food", "book_table"),
    ("What about {city} on {day}?", "get_weather", "book_flight"),
    ("I owe my {person} {amount} {currency}, see to it.", "send_money", "call_person"),
    ("Start {artist} on {day} at {hour}.", "play_music", "set_alarm"),
    ("Take me out in {city} at {hour}.", "book_table", "book_flight"),
)
AMBIGUOUS_SHARE = 0.2


def intents(world: World, die: Dice) -> Example:
    """A request; right when the answer names its intent, no other, and every slot."""
    if die.weighed((AMBIGUOUS_SHARE, 1 - AMBIGUOUS_SHARE)) == 0:
        place = die.below(len(AMBIGUOUS))
        wording, *readings = AMBIGUOUS[place]
        label = readings[world.ambiguous_reading[place]]
    else:
        label = die.pick(tuple(INTENTS))
        wording = die.pick(INTENTS[label])
    slots = {name: die.pick(options) for name, options in _SLOTS.items() if f"{{{name}}}" in wording}
    told = " ".join(world.style.slot.format(name=name, value=value) for name, value in slots.items())
    response = world.style.label.format(label=label, slots=told)
    rivals = tuple(intent for intent in INTENTS if intent != label)
    checks = (Check("label", label, rivals), *(Check("contains", value) for value in slots.values()))
    return Example(f"What is wanted? {wording.format(**slots)}", response, None, label, "intents", checks)
