"""Detectors and tests of other distributions, found by their entry points.

One file and one line of metadata add either::

    [project.entry-points."kdguard.detectors"]
    sinker = "acme_sinker:Sinker"

A detector is a frozen dataclass that subclasses `kdguard.scan.Detector` and is made without arguments; a test is a
function on tables that returns evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kdguard.errors import PluginError
from kdguard.scan import Detector

DETECTORS = "kdguard.detectors"
TESTS = "kdguard.tests"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point; nothing of it is imported before `load`.

    Attributes:
        name: Its name.
        distribution: Who brings it, with version.
        entry: Where it is.
    """

    name: str
    distribution: str
    entry: EntryPoint

    def load(self) -> Any:
        """Import it.

        Raises:
            PluginError: It cannot be imported.
        """
        try:
            return self.entry.load()
        except Exception as error:
            raise self.error(f"cannot be imported: {type(error).__name__}: {error}") from error

    def error(self, what: str) -> PluginError:
        """Say what is wrong, whose fault it is, and what to do."""
        owner = self.distribution.partition(" ")[0]
        return PluginError(
            f"{self.distribution}: '{self.name}' ({self.entry.value}) {what}; upgrade or uninstall {owner}"
        )


def found(group: str) -> tuple[Plugin, ...]:
    """List the entry points of a group, in an order that does not depend on the path."""
    listed = [
        Plugin(entry.name, f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown", entry)
        for entry in entry_points(group=group)
    ]
    return tuple(sorted(listed, key=lambda item: (item.distribution, item.name)))


def detectors(taken: Mapping[str, str]) -> tuple[Detector, ...]:
    """Make every third-party detector.

    Args:
        taken: Names in use, and by whom.

    Raises:
        PluginError: One cannot be used.
    """
    used, made = dict(taken), []
    for plugin in found(DETECTORS):
        detector = make_detector(plugin)
        if detector.name in used:
            raise plugin.error(
                f"cannot be used: the name '{detector.name}' is taken by {used[detector.name]}"
            )
        used[detector.name] = plugin.distribution
        made.append(detector)
    return tuple(made)


def make_detector(plugin: Plugin) -> Detector:
    """Import and make one detector.

    Raises:
        PluginError: It is none, or cannot be made.
    """
    kind = plugin.load()
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise plugin.error("must be a kdguard.scan.Detector class")
    if not (is_dataclass(kind) and kind.__dataclass_params__.frozen):
        raise plugin.error("must be a frozen dataclass, so that a baseline can keep what it learns")
    try:
        detector = kind()
        sizes = len(detector.outputs), len(detector.resolution)
    except Exception as error:
        raise plugin.error(f"cannot be made: {type(error).__name__}: {error}") from error
    if sizes[0] != sizes[1]:
        raise plugin.error(f"must have as many resolutions as outputs, got {sizes[1]} and {sizes[0]}")
    return detector


def tests() -> Mapping[str, Callable[..., Any]]:
    """Import every third-party test.

    Raises:
        PluginError: One cannot be imported, or is no function.
    """
    loaded = {}
    for plugin in found(TESTS):
        loaded[plugin.name] = plugin.load()
        if not callable(loaded[plugin.name]):
            raise plugin.error("must be a function")
    return loaded
