"""Plain words that all worlds share, and made-up names that no text holds by chance."""

from __future__ import annotations

from collections.abc import Iterator

from kdguard.distill.corpora.dice import Dice, dice


def listed(words: str) -> tuple[str, ...]:
    """The words of a line."""
    return tuple(words.split())


PEOPLE = listed(
    "Ada Ben Cleo Dan Eva Finn Gita Hugo Ida Jack Kira Leo Mia Nils Ora Paul Quin Rosa Sam Tara Umar Vera "
    "Wim Xena Yara Zoe Amir Bela Carl Dora Emil Faye Gus Hana Ivan Jana Karl Lena Milo Nora"
)
THINGS = listed(
    "apples pears plums coins cards stamps books pens shells beads stones eggs cups plates keys tickets "
    "roses tulips buttons marbles nails screws bricks boxes bags candles lamps chairs spoons forks lemons "
    "melons nuts figs dates stickers balloons ribbons bottles jars"
)
CITIES = listed(
    "Oslo Rome Lima Cairo Paris Delhi Quito Accra Hanoi Tunis Bern Riga Porto Kyoto Dakar Perth Leeds "
    "Turin Basel Graz Malmo Bilbao Galway Ghent Lyon Nantes Split Varna Tartu Cork"
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CURRENCIES = ("euros", "dollars", "pounds", "francs", "krona", "yen", "pesos", "rupees")
FOODS = listed(
    "soup bread rice pasta salad curry stew pizza tacos noodles dumplings pancakes omelette risotto chili "
    "pie lasagna porridge waffles couscous"
)
ARTISTS = listed(
    "Nova Halden Brisk Lumen Oriole Tamarin Corvid Juniper Marlow Sable Quartz Willow Ember Fjord Pepper"
)
RELATIVES = listed(
    "neighbour colleague cousin uncle aunt roommate landlord boss teacher classmate brother sister friend "
    "grandmother grandfather customer client tenant rival coach"
)

_OPEN = listed("b d f g k l m n p r s t v z br dr gr kr pr tr vl zh th")
_CORE = listed("a e i o u ae ei ou y")
_CLOSE = listed("n r l s th x k m rn lt nd sk")


def made_up_name(die: Dice) -> str:
    """A name of two or three syllables, capitalised."""
    syllables = 2 + die.below(2)
    body = "".join(die.pick(_OPEN) + die.pick(_CORE) for _ in range(syllables))
    return (body + die.pick(_CLOSE)).capitalize()


def made_up_names(seed: int, *names: str) -> Iterator[str]:
    """An endless sequence of different made-up names."""
    used: set[str] = set()
    for die in dice(seed, "made-up", *names):
        name = made_up_name(die)
        if name not in used:
            used.add(name)
            yield name
