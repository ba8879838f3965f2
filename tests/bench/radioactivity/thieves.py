"""What a thief learns from: mixtures, paraphrases, a choice, and text from which the mark was removed."""

from __future__ import annotations

import numpy as np

from tests.bench.radioactivity.suspects import Bench
from tests.bench.radioactivity.world import CLASSES, PROMPT, VOCAB, Words, expectations


def mixed(bench: Bench, marked: Words, dose: float, seed: int) -> Words:
    """Clean and marked text of the teacher, the share `dose` of it marked."""
    count = round(dose * len(marked))
    chosen = np.random.default_rng(seed).permutation(len(marked))[:count]
    text = list(bench.clean_text)
    for at in chosen:
        text[at] = marked[at]
    return text


def reworded(text: Words, share: float, seed: int) -> Words:
    """A paraphrase that knows nothing of the mark: a share of the words becomes another of its class."""
    rng, size = np.random.default_rng(seed), VOCAB // CLASSES
    return [
        np.where(
            rng.random(len(words)) < share, words // size * size + rng.integers(0, size, len(words)), words
        )
        for words in text
    ]


def picked(bench: Bench, text: Words, share: float) -> Words:
    """Only the texts that the unmarked teacher finds likeliest, repeated until there are as many as before."""
    whole = [
        np.concatenate((prompt[:PROMPT], words)) for prompt, words in zip(bench.prompts, text, strict=True)
    ]
    expected = expectations(bench.teacher, whole)
    surprise = (
        -np.log(expected[np.arange(len(expected)), np.concatenate(whole)]).reshape(len(text), -1).mean(1)
    )
    kept = np.argsort(surprise)[: round(share * len(text))]
    return [text[at] for at in np.resize(kept, len(text))]


def scrubbed(bench: Bench, text: Words, seed: int) -> Words:
    """Targeted removal by somebody with clean text of the same teacher: words after which they are said too often."""
    size = VOCAB
    counts = [np.zeros((size, size)) + 0.5 for _ in range(2)]
    for texts, table in ((text, counts[0]), (bench.clean_text, counts[1])):
        for one in texts:
            np.add.at(table, (one[:-1], one[1:]), 1)
    shares = [table / table.sum(1, keepdims=True) for table in counts]
    keep = np.minimum(1, shares[1] / shares[0])
    spare = np.maximum(shares[1] - shares[0], 1e-9)
    spare = (spare / spare.sum(1, keepdims=True)).cumsum(1)
    rng = np.random.default_rng(seed)
    made: Words = []
    for one in text:
        words = one.copy()
        for place in range(1, len(words)):
            before = words[place - 1]
            if rng.random() > keep[before, words[place]]:
                words[place] = min(int((spare[before] < rng.random()).sum()), size - 1)
        made.append(words)
    return made
