"""A plain Llama written for decoding: fused projections, rotary tables, no module calls.

Source: Touvron et al. (2023), arXiv 2302.13971, and grouped-query attention, Ainslie et al. (2023), arXiv
2305.13245. Weights are read from a `LlamaForCausalLM`; results agree with it up to rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kdguard.distill.teachers.generation.cache import KeyValueCache


class _Layer(NamedTuple):
    qkv: Tensor  # (heads + 2 * kv_heads) * head_width, hidden
    out: Tensor
    gate_up: Tensor  # 2 * intermediate, hidden
    down: Tensor
    norm_attention: Tensor
    norm_feed: Tensor


def is_plain_llama(model: Any) -> bool:
    """Whether `LlamaForward` computes the same as this model."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        type(model).__name__ == "LlamaForCausalLM"
        and config.hidden_act == "silu"
        and not config.attention_bias
        and not config.mlp_bias
        and rope.get("rope_type", "default") in ("default", "linear", "llama3")
    )


class LlamaForward:
    """Next-token logits of a Llama over a `KeyValueCache`.

    Args:
        model: A `LlamaForCausalLM` for which `is_plain_llama` holds.
        rows: Sequences held at once.
        context: Positions to prepare.
    """

    def __init__(self, model: Any, *, rows: int, context: int) -> None:
        config = model.config
        self._model = model
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        weight = model.model.embed_tokens.weight
        self.device = weight.device
        with torch.inference_mode():
            cos, sin = model.model.rotary_emb(weight, torch.arange(context, device=self.device)[None])
        half = self.width // 2
        self._cos = cos[0]
        # rotate_half(x) * sin == roll(x) * signed sin: one operation less a layer
        self._sin = torch.cat((-sin[0][:, :half], sin[0][:, half:]), dim=-1)
        self.cache = KeyValueCache(
            config.num_hidden_layers, rows, self.kv_heads, self.width, dtype=weight.dtype, device=self.device
        )
        self.refresh()

    def refresh(self) -> None:
        """Read the weights again, after the model was trained further."""
        body = self._model.model
        self._layers = [_layer(block) for block in body.layers]
        self._embedding = body.embed_tokens.weight.detach()
        self._norm = body.norm.weight.detach()
        self._head = self._model.lm_head.weight.detach()

    def prefill(self, token_ids: Tensor, lengths: Tensor, rows: Tensor) -> Tensor:
        """Read prompts, padded on the right: a pad is behind every token that counts, so no mask is needed.

        Args:
            token_ids: (a, longest) int64.
            lengths: (a,) int64, tokens of each prompt.
            rows: (a,) int64, where each goes.

        Returns:
            Logits after the last token of each prompt, (a, vocab) float32.
        """
        a, longest = token_ids.shape
        x = functional.embedding(token_ids, self._embedding)
        cos, sin = self._cos[:longest, None], self._sin[:longest, None]
        for at, layer in enumerate(self._layers):
            qkv = functional.linear(self._normed(x, layer.norm_attention), layer.qkv).view(
                a, longest, -1, self.width
            )
            turned, values = self._turned(qkv, cos, sin)
            turned, values = turned.transpose(1, 2), values.transpose(1, 2)
            queries, keys = turned[:, : self.heads], turned[:, self.heads :]
            self.cache.write_prompts(at, rows, keys, values)
            seen = functional.scaled_dot_product_attention(
                queries,
                keys,
                values,
                is_causal=True,
                enable_gqa=self.kv_heads != self.heads,
            )
            x = self._rest(x, seen.transpose(1, 2).reshape(a, longest, -1), layer)
        return self._logits(x[torch.arange(a, device=x.device), lengths - 1])

    def decode(self, tokens: Tensor, positions: Tensor, span: int) -> Tensor:
        """Read one token more of each of the first m rows.

        Args:
            tokens: (m,) int64.
            positions: (m,) int64, where each token stands; all below `span`.
            span: Positions of the cache to look at.

        Returns:
            Logits, (m, vocab) float32.
        """
        m, group = tokens.shape[0], self.heads // self.kv_heads
        x = functional.embedding(tokens, self._embedding)
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]
        hidden = torch.arange(span, device=x.device) > positions[:, None]
        mask = torch.zeros(m, 1, 1, span, dtype=torch.float32, device=x.device)
        mask.masked_fill_(hidden[:, None, None], float("-inf"))
        for at, layer in enumerate(self._layers):
            qkv = functional.linear(self._normed(x, layer.norm_attention), layer.qkv).view(m, -1, self.width)
            turned, values = self._turned(qkv, cos, sin)
            self.cache.write_step(at, positions, turned[:, self.heads :], values)
            keys, values = self.cache.read(at, m, span)
            query = turned[:, : self.heads].view(m, self.kv_heads, group, self.width) * self.width**-0.5
            scores = torch.matmul(query, keys.transpose(2, 3)) + mask
            seen = torch.matmul(scores.softmax(-1).to(x.dtype), values)
            x = self._rest(x, seen.reshape(m, -1), layer)
        return self._logits(x)

    def _turned(self, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys with their positions, and values; heads are the last axis but one."""
        turning = self.heads + self.kv_heads
        queries_keys = qkv[..., :turning, :]
        turned = torch.addcmul(queries_keys * cos, queries_keys.roll(self.width // 2, -1), sin)
        return turned, qkv[..., turning:, :]

    def _rest(self, x: Tensor, seen: Tensor, layer: _Layer) -> Tensor:
        """What follows attention in a block."""
        x = x + functional.linear(seen, layer.out)
        gate, up = functional.linear(self._normed(x, layer.norm_feed), layer.gate_up).chunk(2, dim=-1)
        return x + functional.linear(functional.silu(gate) * up, layer.down)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), weight, self.eps)

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(self._normed(x, self._norm), self._head).float()


def _layer(block: Any) -> _Layer:
    attention, feed = block.self_attn, block.mlp
    return _Layer(
        qkv=torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]).detach(),
        out=attention.o_proj.weight.detach(),
        gate_up=torch.cat([feed.gate_proj.weight, feed.up_proj.weight]).detach(),
        down=feed.down_proj.weight.detach(),
        norm_attention=block.input_layernorm.weight.detach(),
        norm_feed=block.post_attention_layernorm.weight.detach(),
    )
