"""Word problems of one to three steps over whole numbers, with the calculation as the rationale."""

from __future__ import annotations

from kdguard.distill.corpora.dice import Dice
from kdguard.distill.corpora.example import Check, Example
from kdguard.distill.corpora.words import PEOPLE, RELATIVES, THINGS
from kdguard.distill.corpora.worlds import World

_BEGIN = ("{name} has {a} {thing}.", "There are {a} {thing} at {name}'s place.", "{name} owns {a} {thing}.")
_ADD = ("{name} buys {b} more.", "The {kin} of {name} brings {b} more.", "{name} finds {b} others.")
_TAKE = ("{name} gives {b} to the {kin}.", "{name} loses {b} of them.", "{b} of them are sold.")
_TIMES = ("Then the number grows {b} times as large.", "Then {name} gets {b} times as many in all.")
_ASK = (
    "How many {thing} are there now?",
    "How many {thing} does {name} have now?",
    "How many are left in all?",
)


def arithmetic(world: World, die: Dice) -> Example:
    """A word problem; right when the last number of the answer is the result."""
    words = {"name": die.pick(PEOPLE), "thing": die.pick(THINGS), "kin": die.pick(RELATIVES)}
    value = die.between(3, 40)
    said = [die.pick(_BEGIN).format(a=value, **words)]
    steps = []
    for _ in range(die.between(1, 3)):
        sentence, calculation, value = _step(value, words, die)
        said.append(sentence)
        steps.append(world.style.step.format(calc=calculation))
    said.append(die.pick(_ASK).format(**words))
    response = world.style.number[die.weighed(world.style.shares)].format(n=value)
    return Example(
        " ".join(said), response, " ".join(steps), None, "arithmetic", (Check("number", str(value)),)
    )


def _step(value: int, words: dict[str, str], die: Dice) -> tuple[str, str, int]:
    """A sentence, its calculation and the new value, kept between 0 and 200."""
    move = die.below(3)
    if move == 2 and 1 < value <= 50:
        factor = die.between(2, 4)
        return (
            die.pick(_TIMES).format(b=factor, **words),
            f"{value} x {factor} = {value * factor}",
            value * factor,
        )
    if move == 1 and value > 2:
        less = die.between(1, min(value - 1, 30))
        return die.pick(_TAKE).format(b=less, **words), f"{value} - {less} = {value - less}", value - less
    more = die.between(2, 30)
    return die.pick(_ADD).format(b=more, **words), f"{value} + {more} = {value + more}", value + more
