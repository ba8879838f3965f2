"""Our own tokenizers: byte-level BPE trained in seconds, with marks for turns, reasoning and tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from kdguard.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD: Final = "<|pad|>"
END: Final = "<|end|>"
TURNS: Final = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
MARKS: Final = ("<think>", "</think>", "<tool_call>", "</tool_call>")
SMALLEST: Final = 256 + 2 + len(TURNS) + len(MARKS)
CHAT_TEMPLATE: Final = (
    "{% if tools %}<|system|>Tools: {{ tools | tojson }}<|end|>{% endif %}"
    "{% for turn in messages %}<|{{ turn['role'] }}|>{{ turn['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab: int, *, context: int = 512) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with a chat template.

    Any text can be encoded and comes back unchanged. Digits are tokens of their own, so that numbers are read alike
    wherever they stand. The same texts in the same order give the same tokenizer.

    Args:
        texts: What to train on; some thousand lines are enough for 4,096 tokens.
        vocab: Tokens wanted, marks included; fewer come out if the texts hold too few pairs.
        context: Longest row of tokens, noted for users of the tokenizer.

    Raises:
        TrainingError: `vocab` leaves no room for the 256 bytes and the marks.

    References:
        Sennrich et al. (2016), Neural Machine Translation of Rare Words with Subword Units; byte level: Radford et
        al. (2019).
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab < SMALLEST:
        raise TrainingError(f"a byte-level vocabulary needs at least {SMALLEST} tokens, got {vocab}")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    marks = [AddedToken(mark, special=True) for mark in (PAD, END, *TURNS)]
    marks += [AddedToken(mark, special=False, normalized=False) for mark in MARKS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=marks,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(TURNS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def fitted_vocab(tokenizer: Any) -> int:
    """Rows of the embedding for a tokenizer: its tokens, rounded up to a multiple of 64 for matrix units."""
    return -(-len(tokenizer) // 64) * 64


def special_ids(tokenizer: Any) -> dict[str, int | None]:
    """Ids that a model's configuration should name."""
    return {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id")}


def conversation_ids(tokenizer: Any, turns: Sequence[Sequence[Mapping[str, str]]]) -> list[list[int]]:
    """Token ids of conversations, up to where the assistant speaks next.

    Args:
        tokenizer: With a chat template; without one the turns are joined by blank lines.
        turns: One list of `{"role", "content"}` a conversation.
    """
    if not turns:
        return []
    if getattr(tokenizer, "chat_template", None):
        texts = tokenizer.apply_chat_template(
            list(map(list, turns)), add_generation_prompt=True, tokenize=False
        )
    else:
        texts = ["\n\n".join(turn["content"] for turn in talk if turn["content"]) for talk in turns]
    return text_ids(tokenizer, texts)


def text_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, with nothing added."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids
