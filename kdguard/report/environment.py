"""How pages are written from templates: everything escaped, nothing undefined."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from kdguard.report.words import number_words, p_words, visible


def environment(package: str = "kdguard.report") -> Environment:
    """An environment over a package's folder `templates`, with the filters that all pages use.

    Args:
        package: Import name.
    """
    made = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(visible=visible, p=p_words, number=number_words)
    return made
