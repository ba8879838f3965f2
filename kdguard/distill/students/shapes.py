"""Shapes of students: a frozen value that names a Llama of one size, and the shapes that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kdguard.errors import TrainingError

if TYPE_CHECKING:
    from transformers import LlamaConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Everything that fixes the tensors of a Llama.

    Attributes:
        hidden: Width of the residual stream.
        layers: Decoder layers.
        heads: Attention heads; divides `hidden`.
        kv_heads: Heads of keys and values; divides `heads`.
        intermediate: Width of the gated feed-forward layer.
        vocab: Rows of the embedding.
        context: Longest row of tokens.
        tied: The vocabulary head is the embedding.
        rope_theta: Base of the rotary frequencies.
        norm_eps: Added to the mean square before the root.

    Raises:
        TrainingError: A count is not positive, or does not divide as it must.
    """

    hidden: int
    layers: int
    heads: int
    vocab: int
    kv_heads: int = 0
    intermediate: int = 0
    context: int = 512
    tied: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if not self.kv_heads:
            object.__setattr__(self, "kv_heads", self.heads)
        if not self.intermediate:
            object.__setattr__(self, "intermediate", gated_width(self.hidden))
        if min(self.hidden, self.layers, self.heads, self.vocab, self.kv_heads, self.context) < 1:
            raise TrainingError(f"every count of a shape must be positive, got {self}")
        if self.hidden % self.heads or self.heads % self.kv_heads or self.head_width % 2:
            raise TrainingError(
                f"heads must divide hidden into an even width, and kv_heads must divide heads; got {self}"
            )

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """Trainable numbers; a tied head counts once."""
        attention = self.hidden * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + self.hidden + self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def body_parameters(self) -> int:
        """Parameters that multiply every token: all but the embedding and the head."""
        return self.parameters - self.vocab * self.hidden * (1 if self.tied else 2)

    def record(self) -> dict[str, Any]:
        """The shape as plain values, for manifests."""
        return asdict(self)


def gated_width(hidden: int) -> int:
    """Feed-forward width of a gated layer: 8/3 of the residual width, rounded up to a multiple of 32."""
    return -(-(8 * hidden // 3) // 32) * 32


#: Named shapes; the vocabulary is set when one is picked.
NAMED: Mapping[str, Shape] = MappingProxyType(
    {
        "micro": Shape(hidden=32, layers=2, heads=2, vocab=1024, context=128),
        "tiny": Shape(hidden=64, layers=2, heads=4, vocab=1024, context=128),
        "mini": Shape(hidden=96, layers=3, heads=4, vocab=1024, context=256),
        "small": Shape(hidden=128, layers=4, heads=4, vocab=2048, context=256),
        "3M": Shape(hidden=192, layers=5, heads=6, vocab=4096, context=512),
        "10M": Shape(hidden=320, layers=6, heads=5, vocab=8192, context=512),
        "30M": Shape(hidden=512, layers=8, heads=8, vocab=8192, context=512),
        "60M": Shape(hidden=640, layers=11, heads=10, vocab=8192, context=512),
    }
)


def named_shape(name: str, *, vocab: int | None = None, context: int | None = None) -> Shape:
    """A named shape, fitted to a tokenizer and a row length.

    Raises:
        TrainingError: No shape has this name.
    """
    if name not in NAMED:
        raise TrainingError(f"no shape '{name}'; named shapes are: {', '.join(NAMED)}")
    shape = NAMED[name]
    return replace(shape, vocab=vocab or shape.vocab, context=context or shape.context)


def llama_config(shape: Shape, **special_ids: int | None) -> LlamaConfig:
    """The transformers configuration of a shape.

    Args:
        shape: The shape.
        special_ids: `pad_token_id`, `bos_token_id`, `eos_token_id` where the tokenizer has them.
    """
    from transformers import LlamaConfig

    told: dict[str, Any] = dict(special_ids)
    return LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.context,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tied,
        hidden_act="silu",
        attention_bias=False,
        mlp_bias=False,
        architectures=["LlamaForCausalLM"],
        **told,
    )


def shape_of(config: Any) -> Shape:
    """The shape of a configuration.

    Raises:
        TrainingError: The configuration is not a plain Llama: other kind, biases, scaled rotary, other activation.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if config.model_type != "llama" or not _is_plain(config, rope):
        raise TrainingError(
            "only a plain Llama can be stacked (silu, no biases, unscaled rotary positions), got "
            f"model_type '{config.model_type}'; build the student from a Shape instead"
        )
    return Shape(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        intermediate=config.intermediate_size,
        vocab=config.vocab_size,
        context=config.max_position_embeddings,
        tied=config.tie_word_embeddings,
        rope_theta=rope.get("rope_theta", 10_000.0),
        norm_eps=config.rms_norm_eps,
    )


def _is_plain(config: Any, rope: Mapping[str, Any]) -> bool:
    return bool(
        rope.get("rope_type", "default") == "default"
        and config.hidden_act == "silu"
        and not (config.attention_bias or config.mlp_bias)
        and config.head_dim * config.num_attention_heads == config.hidden_size
    )
