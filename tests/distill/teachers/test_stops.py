"""Stop texts, against a search over the whole text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.distill.teachers.generation.stops import StopWatch

LETTERS = st.sampled_from([b"a", b"b", b"ab", b"ba", b"aab", b"", b"c", b"\xe2\x82"])
STOPS = st.lists(st.sampled_from([b"aab", b"ab", b"bb", b"cab", b"abab", b"\x82c"]), min_size=1, max_size=3)


def whole(tokens: list[bytes], stops: list[bytes]) -> tuple[bytes, bool]:
    """The text up to the stop that ends first, longest first among those that end together."""
    text = b"".join(tokens)
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@settings(deadline=None)
@given(tokens=st.lists(LETTERS, max_size=30), stops=STOPS, cut=st.integers(1, 7))
def test_any_cut_gives_the_text_before_the_first_stop(
    tokens: list[bytes], stops: list[bytes], cut: int
) -> None:
    watch, text, kept, stopped = StopWatch(stops), b"", 0, False
    for start in range(0, max(len(tokens), 1), cut):
        released = watch.feed(tokens[start : start + cut], last=start + cut >= len(tokens))
        text, kept, stopped = text + released.text, kept + released.tokens, released.stopped
        if stopped:
            break
    wanted, ends = whole(tokens, stops)
    assert (text, stopped) == (wanted, ends)
    assert b"".join(tokens[:kept]).startswith(wanted)
    if ends:  # no token that begins behind the text is kept
        starts = [len(b"".join(tokens[:at])) for at in range(kept) if tokens[at]]
        assert max(starts, default=0) <= max(len(wanted) - 1, 0)


def test_text_is_let_go_as_soon_as_no_stop_can_begin_in_it() -> None:
    watch = StopWatch([b"stop"])
    assert watch.feed([b"we ", b"st"], last=False).text == b"we "
    assert watch.feed([b"ay"], last=False).text == b"stay"
    assert watch.feed([b" s", b"to"], last=False).text == b""
    assert watch.feed([b"p!"], last=False) == (1, b" ", True)
