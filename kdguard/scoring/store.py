"""Baselines on disk: one safetensors file, arrays beside a JSON header, nothing executable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kdguard.errors import BaselineError
from kdguard.features.embedding import Embedding
from kdguard.features.familiarity import Familiarity
from kdguard.scan import Detector
from kdguard.scoring.baseline import Baseline, Kind
from kdguard.scoring.groups.store import from_arrays, to_arrays
from kdguard.scoring.packing import pack, unpack
from kdguard.scoring.ranking import Panel, VolumeBins
from kdguard.scoring.standardise import Scale
from kdguard.scoring.suite import Suite

BASELINE_SCHEMA_VERSION = 2

Arrays = dict[str, npt.NDArray[Any]]


def save_baseline(baseline: Baseline, path: Path) -> Baseline:
    """Write a baseline, whole or not at all; return it with its digest."""
    content = _to_bytes(baseline)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return replace(baseline, digest=hashlib.sha256(content).hexdigest())


def load_baseline(path: Path, suite: Suite, *, shipped: bool = False) -> Baseline:
    """Read a baseline for the detectors of this version.

    Args:
        path: File written by `save_baseline`.
        suite: Detectors to hand the learnt parameters to.
        shipped: It came with kdguard and not from the provider's own traffic.

    Raises:
        BaselineError: The file is missing, damaged, or was made for other detectors.
    """
    try:
        content = path.read_bytes()
        with safe_open(path, framework="numpy") as opened:
            header = json.loads((opened.metadata() or {})["kdguard"])
            stored = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise BaselineError(
            f"{path}: no such baseline; make one with `kdguard baseline LOG --out {path}`"
        ) from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BaselineError(f"{path}: must be a file written by `kdguard baseline`, got: {error}") from error
    _check(path, header, suite)
    arrays = unpack(stored, header["packed"])
    learnt = _read_suite(suite, header, arrays)
    return Baseline(
        suite=learnt,
        kinds={name: _read_kind(name, at, header, arrays) for at, name in enumerate(header["kinds"])},
        kind_of=header["kind_of"],
        owners=header["owners"],
        shipped=shipped,
        contributions=arrays.get("contributions"),
        groups=from_arrays(arrays, header["groups"]) if header.get("groups") else None,
        digest=hashlib.sha256(content).hexdigest(),
    )


def _to_bytes(baseline: Baseline) -> bytes:
    suite = baseline.suite
    arrays: Arrays = {
        "embedding": suite.embedding.weights,
        "familiarity/common": suite.familiarity.common,
        "familiarity/seen": suite.familiarity.seen,
    }
    header: dict[str, Any] = {
        "schema_version": BASELINE_SCHEMA_VERSION,
        "detectors": _versions(suite),
        "weights": dict(suite.weights),
        "kinds": list(baseline.kinds),
        "kind_of": dict(baseline.kind_of),
        "owners": baseline.owners,
        "bins": {},
        "typical": {},
        "parameters": {},
    }
    for owner, value in (("technique", suite.technique), *((item.name, item) for item in suite.detectors)):
        for field in fields(value):  # type: ignore[arg-type]
            content = getattr(value, field.name)
            if isinstance(content, np.ndarray):
                arrays[f"{owner}/{field.name}"] = content
            else:
                header["parameters"][f"{owner}/{field.name}"] = content
    for at, (name, kind) in enumerate(baseline.kinds.items()):
        header["bins"][name] = [list(kind.panel.bins.first), list(kind.panel.bins.share)]
        header["typical"][name] = kind.typical
        arrays |= {
            **{f"kind-{at}/scale/{field.name}": getattr(kind.scale, field.name) for field in fields(Scale)},
            f"kind-{at}/best": kind.panel.best,
            f"kind-{at}/early": kind.panel.early,
            f"kind-{at}/owner": kind.panel.owner,
        }
    if baseline.contributions is not None:
        arrays["contributions"] = baseline.contributions
    if baseline.groups is not None:
        group_arrays, header["groups"] = to_arrays(baseline.groups)
        arrays |= group_arrays
    packed, header["packed"] = pack(arrays)
    contiguous = {name: np.ascontiguousarray(value) for name, value in sorted(packed.items())}
    return save(contiguous, metadata={"kdguard": json.dumps(header, sort_keys=True)})


def _versions(suite: Suite) -> dict[str, list[str]]:
    return {item.name: [item.version, *item.outputs] for item in suite.detectors}


def _check(path: Path, header: dict[str, Any], suite: Suite) -> None:
    if header.get("schema_version") != BASELINE_SCHEMA_VERSION:
        raise BaselineError(
            f"{path}: schema_version must be {BASELINE_SCHEMA_VERSION}, got {header.get('schema_version')}; "
            "make the baseline again with this version of kdguard"
        )
    if header["detectors"] != _versions(suite):
        raise BaselineError(
            f"{path}: was made for other detectors: {_difference(header['detectors'], _versions(suite))}; "
            "make it again with `kdguard baseline`"
        )


def _difference(known: Mapping[str, list[str]], here: Mapping[str, list[str]]) -> str:
    told = (
        ("does not know", [name for name in here if name not in known]),
        ("needs", [name for name in known if name not in here]),
        ("has another version of", [name for name in known if name in here and known[name] != here[name]]),
    )
    parts = [f"it {what} {', '.join(map(repr, names))}" for what, names in told if names]
    return " and ".join(parts) or "they stand in another order"


def _read_suite(suite: Suite, header: dict[str, Any], arrays: Arrays) -> Suite:
    def learnt(owner: str, value: Any) -> Any:
        changes: dict[str, Any] = {}
        for field in fields(value):
            key = f"{owner}/{field.name}"
            if key in arrays:
                changes[field.name] = arrays[key]
            elif key in header["parameters"]:
                content = header["parameters"][key]
                changes[field.name] = tuple(content) if isinstance(content, list) else content
        return replace(value, **changes)

    detectors: tuple[Detector, ...] = tuple(learnt(item.name, item) for item in suite.detectors)
    return Suite(
        technique=learnt("technique", suite.technique),
        detectors=detectors,
        weights=header["weights"],
        embedding=Embedding(arrays["embedding"]),
        familiarity=Familiarity(arrays["familiarity/common"], arrays["familiarity/seen"]),
        ties=suite.ties,
        statistics=suite.statistics,
    )


def _read_kind(name: str, at: int, header: dict[str, Any], arrays: Arrays) -> Kind:
    first, share = header["bins"][name]
    return Kind(
        name=name,
        scale=Scale(*(arrays[f"kind-{at}/scale/{field.name}"] for field in fields(Scale))),
        typical=header["typical"][name],
        panel=Panel(
            VolumeBins(tuple(first), tuple(share)),
            arrays[f"kind-{at}/best"],
            arrays[f"kind-{at}/early"],
            arrays[f"kind-{at}/owner"],
        ),
    )
