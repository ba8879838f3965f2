"""From spans and special tokens to the tokens that are learnt."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdguard.distill.objectives import (
    positions_between,
    positions_in_spans,
    predicting_positions,
    reasoning_mask,
    refusal_mask,
    tool_use_mask,
)
from kdguard.errors import InputError

OPEN, CLOSE, RESULT, END = 101, 102, 103, 104


def marks(row: str) -> Tensor:
    """A row of 0 and 1 as a mask of one sequence."""
    return torch.tensor([[letter == "1" for letter in row]])


def tokens(row: str) -> Tensor:
    """Letters as tokens, with < > around reasoning or calls and [ ] around results."""
    names = {"<": OPEN, ">": CLOSE, "[": RESULT, "]": END}
    return torch.tensor([[names.get(letter, ord(letter)) for letter in row]])


def by_hand(row: list[int], with_marks: bool) -> list[bool]:
    inside, found = False, []
    for token in row:
        if token == OPEN:
            inside = True
            found.append(with_marks)
        elif token == CLOSE:
            found.append(inside and with_marks)
            inside = False
        else:
            found.append(inside)
    return found


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 12).flatmap(
        lambda t: st.lists(
            st.lists(st.sampled_from([OPEN, CLOSE, 1, 2]), min_size=t, max_size=t), min_size=1, max_size=3
        )
    ),
    with_marks=st.booleans(),
)
def test_positions_between_marks_are_those_of_a_simple_reader(
    rows: list[list[int]], with_marks: bool
) -> None:
    found = positions_between(torch.tensor(rows), OPEN, CLOSE, with_marks)
    assert found.tolist() == [by_hand(row, with_marks) for row in rows]


def test_one_id_for_both_marks_is_refused() -> None:
    with pytest.raises(InputError, match="must differ, got 7 twice"):
        positions_between(torch.zeros(1, 2), 7, 7)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(0, 4), max_size=8),
    spans=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=4),
    whole=st.booleans(),
)
def test_tokens_in_spans_are_those_whose_characters_are(
    lengths: list[int], spans: list[tuple[int, int]], whole: bool
) -> None:
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    offsets = [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    ranges = [(start, start + length) for start, length in spans]
    found = positions_in_spans(offsets, ranges, whole).tolist()
    for (start, end), hit in zip(offsets, found, strict=True):
        characters = set(range(start, end))
        overlaps = [characters & set(range(*span)) for span in ranges]
        wanted = any(characters == some for some in overlaps) if whole else any(overlaps)
        assert hit == (bool(characters) and wanted)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, 1\)"):
        positions_in_spans([(0, 1)], [(3, 1)])


def test_logits_that_predict_a_target_stand_one_place_before_it() -> None:
    assert torch.equal(predicting_positions(marks("01101")), marks("11010"))
    assert torch.equal(predicting_positions(marks("10000")), marks("00000"))


def test_reasoning_and_answer_part_the_response() -> None:
    ids, response = tokens("pp<rr>aa."), marks("001111110")
    learnt = {
        learn: reasoning_mask(ids, response, OPEN, CLOSE, learn) for learn in ("reasoning", "answer", "both")
    }
    assert torch.equal(learnt["reasoning"], marks("001111000"))
    assert torch.equal(learnt["answer"], marks("000000110"))
    assert torch.equal(learnt["both"], response)
    assert torch.equal(learnt["reasoning"] ^ learnt["answer"], response)


def test_a_trace_opened_in_the_prompt_and_one_never_closed() -> None:
    assert torch.equal(
        reasoning_mask(tokens("p<rr>a"), marks("001111"), OPEN, CLOSE, "reasoning"), marks("001110")
    )
    assert torch.equal(
        reasoning_mask(tokens("p<rrrr"), marks("011111"), OPEN, CLOSE, "answer"), marks("000000")
    )


def test_tool_results_are_never_learnt() -> None:
    ids, response = tokens("pt<cc>[rr]tt"), marks("011111111111")
    call, result = (OPEN, CLOSE), (RESULT, END)
    assert torch.equal(tool_use_mask(ids, response, call, result), marks("011111000011"))
    assert torch.equal(tool_use_mask(ids, response, call, result, "calls"), marks("001111000000"))
    assert torch.equal(tool_use_mask(ids, response, call, result, "text"), marks("010000000011"))
    assert torch.equal(tool_use_mask(ids, response, call), response)


def test_refusals_answers_and_openings() -> None:
    response = torch.cat([marks("00111110"), marks("01111000")])
    refused = torch.tensor([True, False])
    none = torch.zeros_like(response[:1])
    assert torch.equal(refusal_mask(response, refused), response)
    assert torch.equal(refusal_mask(response, refused, "refusals"), torch.cat([response[:1], none]))
    assert torch.equal(refusal_mask(response, refused, "answers"), torch.cat([none, response[1:]]))
    opening = refusal_mask(response, refused, opening=2)
    assert torch.equal(opening, torch.cat([marks("00110000"), response[1:]]))


def test_masks_leave_the_response_mask_as_it_was() -> None:
    response = marks("0111")
    refusal_mask(response, torch.tensor([True]), opening=1)
    tool_use_mask(tokens("p[r]"), response, (OPEN, CLOSE), (RESULT, END))
    reasoning_mask(tokens("p<r>"), response, OPEN, CLOSE).zero_()
    assert torch.equal(response, marks("0111"))


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(InputError, match="reasoning, answer, both, got 'all'"):
        reasoning_mask(tokens("p"), marks("1"), OPEN, CLOSE, "all")
    with pytest.raises(InputError, match="calls, text, both"):
        tool_use_mask(tokens("p"), marks("1"), (OPEN, CLOSE), learn="results")
    with pytest.raises(InputError, match="at least 1 token, got 0"):
        refusal_mask(marks("1"), torch.tensor([True]), opening=0)
