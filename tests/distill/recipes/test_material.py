"""What recipes learn from: each kind of data, filters, masks, labels and preferences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdguard.distill.procedures.labelled import labelled
from kdguard.distill.procedures.part import Item
from kdguard.distill.recipes import tables
from kdguard.distill.recipes.material import Source, items_of, read_source
from kdguard.distill.students.plan import Mix, Plan
from kdguard.distill.students.tokenizer import train_tokenizer
from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import InputError, TrainingError
from tests.distill.procedures.made import model, tokenizer

KEEP = tables.FiltersTable()
ALL = tables.MasksTable()


def source(table: Any, filters: tables.FiltersTable = KEEP) -> Source:
    def nobody(asked: tables.AskedData) -> Path:
        raise AssertionError("nothing is asked here")

    return read_source(table, filters, nobody)


def transcripts(folder: Path, answers: Mapping[str, Answer | str]) -> Path:
    with TranscriptWriter(folder) as writer:
        for place, (prompt, told) in enumerate(answers.items()):
            name = f"r{place}"
            answer = (
                Answer(request_id=name, choice=0, model="m", response=told, finish_reason="stop")
                if isinstance(told, str)
                else told
            )
            writer.append(Ask(request_id=name, prompt=prompt), [answer])
        writer.seal()
    return folder


def said(items: list[Item]) -> list[str]:
    mine = tokenizer()
    return [str(mine.decode(item.document.tokens[item.document.weights > 0])) for item in items]


def test_filters_say_what_they_left_out(tmp_path: Path) -> None:
    told = {"a": "yes indeed", "b": "yes indeed", "c": "no", "d": ""}
    path = transcripts(tmp_path / "t", told)
    filters = tables.FiltersTable(least_chars=4)
    found = source(tables.TranscriptData(kind="transcripts", path=path), filters)
    assert found.dropped == {"no_answer": 1, "length": 1}
    assert found.queries == 4
    assert said(found.items(tokenizer())) == ["yes indeed<|end|>"] * 2


def test_verified_needs_truth(tmp_path: Path) -> None:
    path = transcripts(tmp_path / "t", {"a": "b"})
    with pytest.raises(TrainingError, match="needs ground truth"):
        source(tables.TranscriptData(kind="transcripts", path=path), tables.FiltersTable(verified=True))


def test_masks_narrow_what_is_learnt(tmp_path: Path) -> None:
    told = {
        "a": "<think>two and two</think>four",
        "b": 'Look: <tool_call>{"name": "x"}</tool_call>',
        "c": "I can't help with that, sorry.",
    }
    path = transcripts(tmp_path / "t", told)
    found = source(tables.TranscriptData(kind="transcripts", path=path))
    mine = train_tokenizer(list(found.texts), 400)

    def learnt(**masks: Any) -> list[str]:
        items = items_of([found], mine, tables.MasksTable(**masks))
        return [str(mine.decode(item.document.tokens[item.document.weights > 0])) for item in items]

    assert learnt(reasoning="answer")[0] == "four<|end|>"
    assert learnt(reasoning="reasoning")[0] == "<think>two and two</think>"
    assert learnt(tools="calls") == ['<tool_call>{"name": "x"}</tool_call>']
    assert learnt(refusals="refusals") == ["I can't help with that, sorry.<|end|>"]
    assert len(learnt(refusals="answers")) == 2
    opening = items_of([found], mine, tables.MasksTable(refusals="refusals", opening=2))
    assert np.count_nonzero(opening[0].document.weights) == 2


def test_preferences_come_as_lines_or_from_two_worlds(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "a?", "chosen": "yes", "rejected": "no"}) + "\n")
    (item,) = source(tables.PreferenceData(kind="preferences", path=path)).items(tokenizer())
    assert item.rejected is not None
    assert said([item]) == ["yes<|end|>"]
    assert tokenizer().decode(item.rejected.tokens[item.rejected.weights > 0]) == "no<|end|>"
    table = tables.CorpusData(kind="corpus", examples=9, rejected_world="basalt")
    assert all(one.rejected is not None for one in source(table).items(tokenizer()))


@pytest.mark.parametrize("line", ["{", '{"prompt": "a"}', '{"prompt": "a", "chosen": 1, "rejected": "b"}'])
def test_bad_lines_of_preferences_are_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' + line)
    with pytest.raises(TrainingError, match=r"pairs\.jsonl:2: must"):
        source(tables.PreferenceData(kind="preferences", path=path))


def test_texts_are_cut_at_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one line\n" * 10)
    found = source(tables.TextData(kind="text", paths=(path,), chars=30))
    assert [len(text) for text in found.texts] == [36, 36, 18]
    assert said(found.items(tokenizer()))[0].count("one line\n") >= 3
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        source(tables.TextData(kind="text", paths=(tmp_path / "none",)))


def test_probabilities_of_labels_reach_the_objective(tmp_path: Path) -> None:
    def answer(place: int, cat: float) -> Answer:
        return Answer(
            request_id=f"r{place}",
            choice=0,
            model="m",
            response=None,
            label="cat" if cat > 0.5 else "dog",
            label_probs=(("cat", cat), ("dog", 1 - cat)),
        )

    path = transcripts(tmp_path / "t", {"a": answer(0, 0.9), "b": answer(1, 0.2)})
    items = source(tables.TranscriptData(kind="transcripts", path=path)).items(tokenizer())
    mix = Mix(text=0.0, soft=1.0, objective="soft_label")
    procedure = labelled(model(), tokenizer(), items, mix, Plan(steps=1, rows=2), 0)
    (part,) = procedure.parts(0)
    found = sorted(map(tuple, part.tensors["label_probs"].tolist()))
    np.testing.assert_allclose(found, [(0.2, 0.8), (0.9, 0.1)], rtol=1e-6)
    assert sorted(part.tensors["labels"].tolist()) == [0, 1]


def test_nothing_left_to_learn_is_told(tmp_path: Path) -> None:
    path = transcripts(tmp_path / "t", {"a": "plain"})
    found = source(tables.TranscriptData(kind="transcripts", path=path))
    with pytest.raises(TrainingError, match="none of 1 items has anything left to learn"):
        items_of([found], tokenizer(), tables.MasksTable(tools="calls"))
