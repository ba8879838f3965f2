"""Any causal language model of transformers over the same cache: slower than `LlamaForward`, but general."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from kdguard.distill.teachers.generation.cache import KeyValueCache
from kdguard.errors import ModelError


class _RowLayer(CacheLayerMixin):  # type: ignore[no-untyped-call, unused-ignore]
    """One layer of a `KeyValueCache`, in the shape in which transformers writes and reads it."""

    def __init__(self, owner: ModelForward, layer: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._owner, self._layer = owner, layer

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the cache exists."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        cache, (positions, span) = self._owner.cache, self._owner.at
        cache.write_step(self._layer, positions, key_states[:, :, 0], value_states[:, :, 0])
        return cache.read(self._layer, positions.shape[0], span)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._owner.at[1], 0

    def get_seq_length(self) -> int:
        return self._owner.at[1] - 1

    def get_max_length(self) -> int:
        return self._owner.cache.capacity


class ModelForward:
    """Next-token logits of a transformers model over a `KeyValueCache`.

    Args:
        model: A causal language model whose layers attend to all earlier positions.
        rows: Sequences held at once.
        context: Positions it will be asked for.

    Raises:
        ModelError: Its layers keep another kind of state, or look at a window shorter than `context`.
    """

    def __init__(self, model: Any, *, rows: int, context: int) -> None:
        self._model = model
        self.device = next(model.parameters()).device
        _refuse_windows(model.config, context)
        keys = self._probe()
        layers, heads, width = len(keys), keys[0].shape[1], keys[0].shape[-1]
        self.cache = KeyValueCache(layers, rows, heads, width, dtype=keys[0].dtype, device=self.device)
        self.at = (torch.zeros(0, dtype=torch.int64, device=self.device), 0)
        self._adapter = Cache(layers=[_RowLayer(self, layer) for layer in range(layers)])

    def refresh(self) -> None:
        """Weights are read from the model itself."""

    def prefill(self, token_ids: Tensor, lengths: Tensor, rows: Tensor) -> Tensor:
        """As `LlamaForward.prefill`."""
        longest = token_ids.shape[1]
        kept = DynamicCache(config=self._model.config)
        attended = torch.arange(longest, device=self.device)[None] < lengths[:, None]
        hidden = self._model(
            input_ids=token_ids, attention_mask=attended, past_key_values=kept, use_cache=True
        ).logits
        for at, (keys, values) in enumerate(_states(kept)):
            self.cache.write_prompts(at, rows, keys, values)
        return hidden[torch.arange(len(lengths), device=self.device), lengths - 1].float()

    def decode(self, tokens: Tensor, positions: Tensor, span: int) -> Tensor:
        """As `LlamaForward.decode`."""
        self.at = (positions, span)
        visible = torch.arange(span, device=self.device) <= positions[:, None]
        if self._model.config._attn_implementation == "eager":  # adds its mask instead of choosing by it
            least = torch.finfo(self._model.dtype).min
            mask = torch.zeros_like(visible, dtype=self._model.dtype).masked_fill_(~visible, least)
        else:
            mask = visible
        out = self._model(
            input_ids=tokens[:, None],
            position_ids=positions[:, None],
            attention_mask=mask[:, None, None],
            past_key_values=self._adapter,
            use_cache=True,
        )
        return out.logits[:, -1].float()

    def _probe(self) -> list[Tensor]:
        """Keys of one token, to learn the sizes of the cache."""
        kept = DynamicCache(config=self._model.config)
        with torch.inference_mode():
            token = torch.zeros(1, 1, dtype=torch.int64, device=self.device)
            self._model(input_ids=token, past_key_values=kept, use_cache=True)
        layers = _states(kept)
        if any(keys is None or values is None or keys.shape != values.shape for keys, values in layers):
            raise ModelError(
                f"{type(self._model).__name__}: decoding needs layers with keys and values of one shape; "
                "this model keeps another kind of state"
            )
        return [keys for keys, _ in layers]


def _states(cache: DynamicCache) -> list[tuple[Any, Any]]:
    """Keys and values of every layer, each (rows, heads, positions, width); None where a layer has none."""
    return [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers]


def _refuse_windows(config: Any, context: int) -> None:
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    strange = set(kinds or ()) - {"full_attention", "sliding_attention"}
    if strange:
        raise ModelError(f"decoding needs attention layers only, this model has {', '.join(sorted(strange))}")
    slides = kinds is None or "sliding_attention" in kinds
    if window is not None and slides and context > window:
        raise ModelError(
            f"this model looks back {window} positions only; decode it with a context of at most {window}, "
            f"got {context}"
        )
