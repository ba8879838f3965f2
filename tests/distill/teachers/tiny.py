"""Tiny random models and tokenizers, made on the spot; shared by the tests of teachers and of the server."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CORPUS = [
    "The teacher answers every question, one token at a time.",
    "A student learns from what the teacher says; the price is counted in tokens.",
    "naïve café, 你好, Привет, 🙂: bytes, not characters, are what a token holds.",
] * 4
CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if tools %}[{{ tools | length }} tools]{% endif %}<assistant>"
)


@cache
def tokenizer(vocab: int = 320, *, chat: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE; `<end>` is id 0."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bare.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=vocab, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    fast: Any = PreTrainedTokenizerFast  # its constructor has no types
    made: PreTrainedTokenizerFast = fast(tokenizer_object=bare, eos_token="<end>", pad_token="<end>")
    if chat:
        made.chat_template = CHAT_TEMPLATE
    return made


def llama(
    vocab: int = 320, *, seed: int = 0, context: int = 256, ends: int | None = 0, **shape: Any
) -> LlamaForCausalLM:
    """A random Llama; wide initial weights make its distributions far from flat."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64} | shape
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(
        vocab_size=vocab,
        max_position_embeddings=context,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=ends,
        pad_token_id=0,
        **(heads | sizes),
    )
    return LlamaForCausalLM(config).train(False)  # `eval()` has no types


def gpt2(vocab: int = 320, *, seed: int = 0, context: int = 128) -> GPT2LMHeadModel:
    """A random GPT-2: learned positions, no rotary embedding."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocab, n_positions=context, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3
    )
    config.eos_token_id = config.bos_token_id = config.pad_token_id = 0
    return GPT2LMHeadModel(config).train(False)
