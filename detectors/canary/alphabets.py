"""What canaries are made of: short public lists. A key only chooses among them."""

from __future__ import annotations

from itertools import product

_ONSETS = (
    "Bar",
    "Cal",
    "Dun",
    "El",
    "Far",
    "Gren",
    "Hol",
    "Kes",
    "Lor",
    "Mar",
    "Nor",
    "Pel",
    "Quin",
    "Ros",
    "Tol",
    "Wes",
)
_MIDDLES = ("a", "en", "i", "lo", "mi", "o", "ri", "va")
_TOWN_ENDS = (
    "bay", "bridge", "by", "combe", "cote", "dale", "ford", "ham", "holm", "ley", "mere", "mouth", "stow",
    "thorpe", "wick", "worth",
)  # fmt: skip
_NAME_ENDS = (
    "ander", "bury", "croft", "dell", "ert", "forth", "gate", "hurst", "ington", "kin", "lund", "more", "ner",
    "quist", "shaw", "wright",
)  # fmt: skip
_STREET_STARTS = (
    "Amber", "Birch", "Cedar", "Clay", "Copper", "Fern", "Flint", "Harbour", "Juniper", "Linden", "Maple",
    "Orchard", "Pebble", "Sparrow", "Thistle", "Willow",
)  # fmt: skip
_STREET_ENDS = ("brook", "field", "gate", "mill", "ridge", "side", "well", "yard")

GIVEN_NAMES = (
    "Ada", "Alma", "Amir", "Ana", "Anton", "Asha", "Bela", "Bruno", "Carl", "Cleo", "Cora", "Dario", "Dina", "Edda",
    "Elio", "Emil", "Enzo", "Esra", "Eva", "Faye", "Felix", "Gita", "Greta", "Hana", "Hugo", "Ida", "Ilse", "Ines",
    "Iris", "Ivan", "Jana", "Jonas", "Juno", "Kai", "Kira", "Lars", "Lena", "Leo", "Lila", "Lucia", "Mara", "Marek",
    "Maya", "Milo", "Mina", "Nadia", "Nico", "Nora", "Olga", "Omar", "Otto", "Petra", "Rafi", "Rhea", "Rosa", "Sami",
    "Selma", "Theo", "Tova", "Ugo", "Vera", "Viktor", "Yara", "Zoe",
)  # fmt: skip
SURNAMES = tuple(start + end for start, end in product(_ONSETS, _NAME_ENDS))
STREETS = tuple(start + end for start, end in product(_STREET_STARTS, _STREET_ENDS))
TOWNS = tuple(start + middle + end for start, middle, end in product(_ONSETS, _MIDDLES, _TOWN_ENDS))
TIMES = tuple(f"{hour:02d}:{minute:02d}" for hour in range(4, 20) for minute in range(0, 60, 10))

TOPICS = (
    "bicycles", "bread", "bridges", "chess", "clocks", "coffee", "compost", "dictionaries", "ferries", "gardens",
    "glaciers", "honey", "kites", "lighthouses", "maps", "mosaics", "paper", "pottery", "quilts", "recycling", "soap",
    "telescopes", "tides", "trams", "umbrellas", "violins", "volcanoes", "weaving", "whales", "windmills", "yoga",
    "zippers",
)  # fmt: skip
OFFERS = (
    "Would you like", "Shall I add", "Do you want", "May I suggest", "Should I include", "Can I offer",
    "Could you use", "How about",
)  # fmt: skip
EXTRAS = (
    "a shorter version", "a worked example", "a comparison table", "a list of sources", "a timeline",
    "a simpler explanation", "a checklist", "a short quiz",
)  # fmt: skip

WORDINGS = (
    ("for example", "for instance"),
    ("in addition", "additionally", "furthermore", "moreover"),
    ("as a result", "consequently", "therefore", "hence"),
    ("in summary", "to summarise", "in short", "to sum up"),
    ("however", "nevertheless", "nonetheless"),
    ("approximately", "roughly"),
    ("usually", "typically", "normally"),
    ("similarly", "likewise"),
)
