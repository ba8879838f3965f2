"""Classification by a language model: every class is a text, and its score the log-probability of that text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.objectives import hard_label, soft_label
from kdguard.distill.procedures.beside import options_of
from kdguard.distill.procedures.part import Item, Losses, Part, Procedure, about, cut, padded, rows_of_step
from kdguard.distill.procedures.preferences import answer_logprob
from kdguard.distill.procedures.writing import prompt_of, with_answer
from kdguard.distill.students.data import Document
from kdguard.distill.students.plan import Mix, Plan
from kdguard.distill.students.tokenizer import text_ids
from kdguard.errors import TrainingError


def labelled(
    student: Any, tokenizer: Any, items: Sequence[Item], mix: Mix, plan: Plan, seed: int
) -> Procedure:
    """The teacher's labels, hard (`hard_label`) or with their probabilities (`soft_label`).

    Args:
        student: A causal language model.
        tokenizer: Its tokenizer.
        items: With a label, or with probabilities of labels; others are left out. The classes are all labels named.
        mix: `soft` weighs the objective; `text` must be 0.
        plan: For the size of batches.
        seed: Of the order of the items.

    Raises:
        TrainingError: Fewer than two classes, or a weight on text.

    References:
        Orekondy et al. (2019), Knockoff Nets, arXiv 1812.02766; Tramer et al. (2016), arXiv 1609.02943.
    """
    known = [item for item in items if item.label is not None or item.label_probs]
    classes = sorted(
        {name for item in known for name in (*_named(item), *([item.label] if item.label else []))}
    )
    if len(classes) < 2 or mix.text:
        raise TrainingError(
            f"'{mix.objective}' needs answers with at least two different labels and text = 0, got {len(classes)} "
            f"labels and text = {mix.text:g}"
        )
    device = next(student.parameters()).device
    options = options_of(mix)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    spelt = [[*ids, *end] for ids in text_ids(tokenizer, classes)]

    def parts(step: int) -> list[Part]:
        rows = rows_of_step(known, plan, seed, step)
        made = []
        for piece in cut(rows, plan):
            tensors = padded([one for row in piece for one in _choices(known[row], spelt)], device)
            tensors["labels"] = torch.tensor([_hard(known[row], classes) for row in piece], device=device)
            tensors["label_probs"] = torch.tensor(
                [_soft(known[row], classes) for row in piece], device=device
            )
            dose = Counter(known[row].document.source for row in piece)
            made.append(Part(tensors, tuple(piece), float(len(rows)), dose))
        return made

    def losses(part: Part) -> Losses:
        scores = answer_logprob(student, part.tensors["tokens"], part.tensors["weights"])
        scores = scores.view(-1, len(classes))
        found: Tensor = (
            hard_label(scores, part.tensors["labels"])
            if mix.objective == "hard_label"
            else soft_label(scores, part.tensors["label_probs"], **options)
        )
        return Losses(torch.zeros((), device=device), mix.soft * found.sum() / part.count)

    described = about("labelled", items, mix, classes=classes)
    return Procedure({"student": student}, parts, losses, described=described)


def _choices(item: Item, spelt: Sequence[Sequence[int]]) -> list[Document]:
    prompt = prompt_of(item)
    return [with_answer(item, prompt, ids, item.document.source) for ids in spelt]


def _named(item: Item) -> list[str]:
    return [name for name, _ in item.label_probs]


def _hard(item: Item, classes: Sequence[str]) -> int:
    probabilities = dict(item.label_probs)
    return classes.index(item.label or max(probabilities, key=lambda name: probabilities[name]))


def _soft(item: Item, classes: Sequence[str]) -> list[float]:
    told = dict(item.label_probs) or {item.label or "": 1.0}
    return np.array([told.get(name, 0.0) for name in classes], np.float32).tolist()
