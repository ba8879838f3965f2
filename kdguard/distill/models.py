"""Language models and tokenizers from and to folders: safetensors and JSON, offline, no code but ours.

References:
    The folder layout is that of transformers (`save_pretrained`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors import SafetensorError
from transformers.utils import logging

from kdguard.distill.model_folder import check_folder, digest_folder
from kdguard.errors import ModelError

__all__ = ["check_folder", "digest_folder", "load_encoder", "load_model", "load_tokenizer", "save_model"]

hf_logging: Any = logging  # its functions have no types
_SAFE: Final[dict[str, Any]] = {"local_files_only": True, "trust_remote_code": False}
# What transformers and safetensors raise for folders that are incomplete or contradict themselves.
_BROKEN: Final = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    SafetensorError,
)


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    attention: str = "sdpa",
) -> Any:
    """Load a causal language model, ready to be asked (dropout off).

    Args:
        path: A folder that `check_folder` accepts.
        dtype: Of the parameters.
        device: Where they are to lie.
        attention: `sdpa` or `eager`; what the folder says of it is not followed.

    Returns:
        The model of transformers.

    Raises:
        ModelError: The folder is not safe or not whole. A parameter that is missing, superfluous or of another shape is
            an error, since transformers would fill it with random numbers or leave it out.
    """
    model, told = _loaded(transformers.AutoModelForCausalLM, path, dtype=dtype, attn_implementation=attention)
    _must_fit(path, {name: told.get(name) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")})
    return model.to(device).eval()


def load_encoder(path: str | Path) -> Any:
    """Load an encoder of texts without its heads, for the states of its last layer.

    Raises:
        ModelError: The folder is not safe or not whole. A pooler may be missing, since states do not pass it.
    """
    model, told = _loaded(transformers.AutoModel, path)
    missing = [key for key in told.get("missing_keys") or () if "pooler" not in str(key)]
    _must_fit(path, {"missing_keys": missing, "mismatched_keys": told.get("mismatched_keys")})
    return model.eval()


def _loaded(kind: Any, path: str | Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A model of transformers, and what it says of the folder's weights."""
    check_folder(path)
    try:
        with _no_progress_bars():
            loaded: tuple[Any, dict[str, Any]] = kind.from_pretrained(
                str(path), use_safetensors=True, output_loading_info=True, **options, **_SAFE
            )
    except _BROKEN as error:
        raise ModelError(f"{path}: cannot be loaded: {_first_line(error)}") from error
    return loaded


def _must_fit(path: str | Path, told: Mapping[str, Iterable[object] | None]) -> None:
    wrong = {name.replace("_", " "): sorted(map(str, keys or ())) for name, keys in told.items()}
    if any(wrong.values()):
        said = "; ".join(f"{name}: {', '.join(keys[:3])}" for name, keys in wrong.items() if keys)
        raise ModelError(f"{path}: weights and configuration do not fit: {said}")


def load_tokenizer(path: str | Path) -> Any:
    """Load the tokenizer of a folder.

    Raises:
        ModelError: The folder is not safe, or holds no tokenizer.
    """
    check_folder(path, needs_weights=False)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(path), **_SAFE)
    except _BROKEN as error:
        raise ModelError(f"{path}: holds no tokenizer that can be loaded: {_first_line(error)}") from error
    for name in ("is_local", *_SAFE):  # how it was loaded is not what it is, and would be saved with it
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer


def save_model(model: Any, tokenizer: Any | None, path: str | Path, *, overwrite: bool = False) -> str:
    """Save a model and its tokenizer; the folder appears when it is complete.

    What a killed save leaves beside it, `.NAME.unfinished`, the next one clears away.

    Args:
        model: A model of transformers.
        tokenizer: Its tokenizer, or None.
        path: Folder to make.
        overwrite: Replace what is there; the old folder is dropped once the new one is complete.

    Returns:
        The digest of the folder.

    Raises:
        ModelError: Something is there already, or the place cannot be written.
    """
    place = Path(path)
    if place.exists() and not overwrite:
        raise ModelError(f"{place}: exists already; name another folder, or ask to overwrite it")
    room = place.with_name(f".{place.name}.unfinished")
    new, old = room / "new", room / "old"
    try:
        _drop(room)
        room.mkdir(parents=True)
        with _no_progress_bars():
            model.save_pretrained(new)
        if tokenizer is not None:
            tokenizer.save_pretrained(new)
        check_folder(new)
        if place.exists():
            shutil.move(place, old)
        new.rename(place)
    except OSError as error:
        raise ModelError(f"{place}: cannot be written: {error.strerror or error}") from error
    finally:
        _drop(room)
    return digest_folder(place)


def _drop(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Files are read in a moment; the bars of transformers would fill a log."""
    were_on = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_on:
            hf_logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
