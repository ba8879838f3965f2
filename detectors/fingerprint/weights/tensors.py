"""Tensors of a folder of safetensors, one at a time: a model need not fit into memory, and bfloat16 needs no torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kdguard.distill.model_folder import check_folder
from kdguard.errors import LineageError

Singles = npt.NDArray[np.float32]

_KINDS: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True)
class Tensors:
    """Where the tensors of a model lie.

    Attributes:
        path: Folder.
        places: By name: file, kind, shape, first byte and bytes.
    """

    path: Path
    places: Mapping[str, tuple[Path, str, tuple[int, ...], int, int]]

    def read(self, name: str) -> Singles:
        """One tensor as float32.

        Raises:
            LineageError: It is of a kind that is not read.
        """
        file, kind, shape, start, size = self.places[name]
        if kind not in _KINDS:
            raise LineageError(f"{file}: tensor {name} must be one of {', '.join(_KINDS)}, is {kind}")
        raw = np.fromfile(
            file, _KINDS[kind], count=size // int(np.dtype(_KINDS[kind]).itemsize), offset=start
        )
        if raw.size != int(np.prod(shape)):
            raise LineageError(
                f"{file}: tensor {name} must have {int(np.prod(shape))} numbers, has {raw.size}"
            )
        if kind == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        found = raw.astype(np.float32).reshape(shape)
        if not np.isfinite(found).all():
            raise LineageError(f"{file}: tensor {name} must be finite")
        return found


def open_tensors(path: Path) -> Tensors:
    """Open a model folder; a hostile or damaged one is refused.

    Raises:
        ModelError: The folder is not safe to load.
        LineageError: A header is damaged.
    """
    if not (path / "config.json").is_file() or "model_type" not in _config(path):
        check_folder(path, needs_weights=False)
    else:
        check_folder(path)
    places = {}
    for file in sorted(path.glob("*.safetensors")):
        for name, told in _header(file).items():
            if name != "__metadata__":
                first, last = told["data_offsets"]
                start = _LENGTH.size + _header_bytes(file) + first
                places[name] = (file, told["dtype"], tuple(told["shape"]), start, last - first)
    if not places:
        raise LineageError(f"{path}: holds no *.safetensors")
    return Tensors(path, places)


def _config(path: Path) -> Mapping[str, Any]:
    try:
        told = json.loads((path / "config.json").read_bytes())
    except ValueError as error:
        raise LineageError(f"{path}/config.json: must be JSON: {error}") from error
    return told if isinstance(told, dict) else {}


def _header_bytes(file: Path) -> int:
    with file.open("rb") as opened:
        return int(_LENGTH.unpack(opened.read(_LENGTH.size))[0])


def _header(file: Path) -> Mapping[str, Any]:
    with file.open("rb") as opened:
        opened.seek(_LENGTH.size)
        try:
            told: Mapping[str, Any] = json.loads(opened.read(_header_bytes(file)))
        except ValueError as error:
            raise LineageError(f"{file}: is damaged: its header is no JSON") from error
    return told
