"""Marks by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.schemes.kgw import KgwLeft, KgwSelf
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.schemes.synthid import SynthIdPhilox, SynthIdTable
from kdguard.errors import WatermarkError

SCHEMES: Final[Mapping[str, type[Scheme]]] = MappingProxyType(
    {kind.name: kind for kind in (GreenSiphash, GumbelPhilox, SynthIdPhilox, SynthIdTable, KgwLeft, KgwSelf)}
)


def make_scheme(name: str, parameters: Mapping[str, Any] | None = None) -> Scheme:
    """A mark by name and parameters.

    Raises:
        WatermarkError: Unknown name or parameter, a parameter missing, or a value that cannot be.
    """
    if name not in SCHEMES:
        raise WatermarkError(f"no mark is called '{name}'; known are {', '.join(SCHEMES)}")
    kind = SCHEMES[name]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(parameters or {}) - set(known))
    if unknown:
        raise WatermarkError(f"'{name}' has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    try:
        return kind(**(parameters or {}))
    except TypeError as error:
        raise WatermarkError(f"'{name}' needs its parameters {', '.join(known)}: {error}") from error
