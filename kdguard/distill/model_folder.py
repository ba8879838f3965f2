"""Whether a model folder is safe to load, and its digest; reads files only, runs nothing.

Unpickling a file runs whatever its author wrote into it, and so does code that a configuration points to. A folder is
therefore loaded only if all its weights are safetensors and nothing in it asks for code.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kdguard.errors import ModelError

_PICKLED: Final = frozenset(
    {
        ".bin",
        ".pt",
        ".pth",
        ".pkl",
        ".pickle",
        ".ckpt",
        ".joblib",
        ".dill",
        ".h5",
        ".keras",
        ".msgpack",
        ".npz",
        ".mar",
    }
)
_CODE: Final = frozenset({".py", ".pyc", ".so", ".dll", ".dylib", ".exe", ".sh"})
_MAGICS: Final = {
    **dict.fromkeys((bytes([0x80, version]) for version in (2, 3, 4, 5)), "a pickle"),
    b"PK\x03\x04": "an archive, as torch.save writes",
    b"\x89HDF": "HDF5",
}
_KERNELS: Final = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
_MOST: Final = {
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), 1_000),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "intermediate_size"), 1 << 20),
    "vocab_size": 1 << 22,
}
_MOST_JSON_BYTES: Final = 64 << 20
_LENGTH: Final = struct.Struct("<Q")


def check_folder(path: str | Path, *, needs_weights: bool = True) -> None:
    """Refuse a folder that is not safe to load or cannot be a model.

    Args:
        path: A folder on this machine; names of a hub are not resolved.
        needs_weights: False for a folder that need only hold a tokenizer.

    Raises:
        ModelError: With the reason: no folder, a pickle (by name or by content), code, a request for remote code or
            kernels, an adapter, no or a damaged configuration, no or damaged safetensors.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{folder}: a model must be a folder on this machine; download it first")
    for file in _files(folder):
        _check_file(file)
    for file in sorted(folder.glob("*.json")):
        if "config" in file.name:
            _check_config(file, _json(file))
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder}: holds an adapter, whose base model lies elsewhere; merge it and save the whole"
        )
    if not needs_weights:
        return
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"{folder}: config.json is missing; a model folder must say what it holds")
    if not isinstance(_json(config).get("model_type"), str):
        raise ModelError(f"{config}: must name a model_type")
    _check_weights(folder)


def digest_folder(path: str | Path) -> str:
    """SHA-256 over the names and contents of all files below a folder; hidden ones are left out.

    Raises:
        ModelError: No such folder, or it holds no file.
    """
    folder = Path(path)
    names = (
        [(file.relative_to(folder).as_posix(), file) for file in _files(folder)] if folder.is_dir() else []
    )
    if not names:
        raise ModelError(f"{folder}: must be a folder with files")
    whole = hashlib.sha256()
    for name, file in sorted(names):
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        whole.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest() + content)
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not hidden:
            yield file


def _check_file(file: Path) -> None:
    kind = file.suffix.lower()
    if kind in _PICKLED:
        raise ModelError(
            f"{file}: may be a pickle, which runs code when it is opened; convert it to safetensors"
        )
    if kind in _CODE:
        raise ModelError(f"{file}: is code; kdguard runs no code that comes with a model")
    if kind == ".safetensors":
        _check_safetensors(file)
        return
    with file.open("rb") as opened:
        head = opened.read(4)
    found = next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)
    if found is not None:
        raise ModelError(f"{file}: is {found}, whatever its name; convert it to safetensors")


def _check_safetensors(file: Path) -> None:
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else size
        text = opened.read(length) if length <= min(size - _LENGTH.size, _MOST_JSON_BYTES) else b""
    if not text.startswith(b"{"):
        raise ModelError(f"{file}: is damaged or no safetensors: its header does not fit the file")


def _check_config(file: Path, config: dict[str, Any]) -> None:
    for key, value in _pairs(config):
        if key in ("auto_map", "custom_pipelines"):
            raise ModelError(
                f"{file}: wants code of its own ({key}, trust_remote_code); kdguard never runs it"
            )
        if key in _KERNELS and "/" in json.dumps(value):
            raise ModelError(f"{file}: {key} asks for kernels from a hub; kdguard loads none")
        most = _MOST.get(key)
        if most is not None and isinstance(value, int) and not 0 <= value <= most:
            raise ModelError(f"{file}: {key} must be between 0 and {most}, got {value}")


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """All pairs in nested JSON."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from node.items()
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MOST_JSON_BYTES:
            raise ModelError(f"{file}: must be at most {_MOST_JSON_BYTES >> 20} MiB")
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{file}: must hold a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{file}: must hold a JSON object, got a {type(value).__name__}")
    return value


def _check_weights(folder: Path) -> None:
    present = {file.name for file in folder.glob("*.safetensors")}
    if not present:
        raise ModelError(f"{folder}: holds no *.safetensors; weights in other forms are not loaded")
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return
    places = _json(index).get("weight_map")
    named = set(places.values()) if isinstance(places, dict) else {None}
    if missing := sorted(str(name) for name in named - present):
        raise ModelError(f"{index}: names {missing[0]}, which is not a safetensors file in this folder")
