"""Versions of what decides a result, for manifests and reports."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DECISIVE = ("kdguard", "torch", "transformers", "tokenizers", "numpy")


def versions() -> dict[str, str | None]:
    """Installed versions by distribution; None where one is not installed as such."""
    return {name: _version(name) for name in DECISIVE}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
