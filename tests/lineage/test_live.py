"""A live suspect: asked as long as needed, gone on with after a break, and distrusted when it changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from kdguard import lineage
from kdguard.detectors.fingerprint import Similarity
from kdguard.distill.teachers.budget import Budget
from kdguard.distill.teachers.endpoint import EndpointTeacher
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import LineageError
from kdguard.lineage import Claim, Lineage, LineageVerdict, Responses, place_families
from kdguard.lineage.asking import Asking, Manner
from kdguard.lineage.live import Examined, examine_live, shared_probes
from kdguard.lineage.probes import Probe, ProbeSet
from tests.lineage.endpoint import probes_frame, prompts_seen, suspect
from tests.lineage.made import answers, families, table

PROMPTS = 24
PROBES = ProbeSet("made", 0, tuple(Probe(*row) for row in probes_frame(PROMPTS).itertuples(index=False)))
STUDENT = answers(9001, habits=1, prompts=PROMPTS)
INNOCENT = answers(9002, habits=9, prompts=PROMPTS)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    made = table(prompts=PROMPTS)
    return made[~made["model"].isin(["student", "innocent"])]


def judge(table: Responses, asked: int, *, last: bool) -> tuple[LineageVerdict, ...]:
    found = place_families(families(), table)
    names = [name for name in table.models if name.startswith("control")]
    listed = pd.DataFrame({"teacher_family": "a", "control": names, "kind": "student_pool"})
    controls = lineage.listed_controls(listed, ["student_pool"], found, table)
    return lineage.test(table, found, controls, ["live"], [Similarity()], Claim(named=("a",), asked=asked))


def examined(
    frame: pd.DataFrame, folder: Path, url: str, *, tokens: int | None = None, again: bool = True
) -> tuple[Examined, Asking]:
    teacher = EndpointTeacher(url, "m", timeout_s=5.0, retries=0, concurrency=1)
    with TranscriptWriter(folder) as writer:
        asking = Asking(
            teacher,
            writer,
            Manner(max_tokens=60),
            now=lambda: datetime(2026, 11, 28, tzinfo=UTC),
            budget=Budget(tokens=tokens),
        )
        probes = shared_probes(PROBES.drawn(0), frame)
        found = examine_live(asking, probes, frame, "live", judge, seed=0, again=again)
    teacher.close()
    return found, asking


def test_a_student_is_left_alone_once_it_is_found(frame: pd.DataFrame, tmp_path: Path) -> None:
    with suspect(lambda number, prompt: STUDENT[prompt]) as script:
        found, _ = examined(frame, tmp_path, script.url)
    (verdict,) = found.verdicts
    assert verdict.verdict is Lineage.SUPPORTED
    assert (found.asked, verdict.queries) == (10, 10)
    assert verdict.p_value == pytest.approx(1 / 121)
    order = [int(probe.prompt_id) for probe in PROBES.drawn(0, 10)]
    assert prompts_seen(script) == order * 2
    assert found.drift is not None
    assert not found.drift.changed


def test_an_innocent_is_asked_all_and_not_accused(frame: pd.DataFrame, tmp_path: Path) -> None:
    with suspect(lambda number, prompt: INNOCENT[prompt]) as script:
        found, _ = examined(frame, tmp_path, script.url)
    assert found.verdicts[0].verdict is Lineage.NOT_SUPPORTED
    assert found.asked == PROMPTS
    assert len(script.seen) == PROMPTS + 20


def test_a_model_changed_half_way_supports_no_claim(frame: pd.DataFrame, tmp_path: Path) -> None:
    """First the innocent, then the student: whatever the ranks say, the answers are of no one model."""
    with suspect(lambda number, prompt: INNOCENT[prompt] if number < 20 else STUDENT[prompt]) as script:
        found, _ = examined(frame, tmp_path, script.url)
    assert found.drift is not None
    assert found.drift.changed
    assert found.verdicts[0].verdict is Lineage.INCONCLUSIVE
    assert "not one model all along" in found.verdicts[0].reason
    assert found.verdicts[0].p_value is None


def test_a_model_that_changes_its_name_supports_no_claim(frame: pd.DataFrame, tmp_path: Path) -> None:
    named: Callable[[int], str] = lambda number: "first" if number < 5 else "second"  # noqa: E731
    with suspect(lambda number, prompt: STUDENT[prompt], model=named) as script:
        found, _ = examined(frame, tmp_path, script.url)
    assert found.verdicts[0].verdict is Lineage.INCONCLUSIVE
    assert "called itself 'first', 'second'" in found.verdicts[0].reason


def test_nothing_is_asked_twice_after_a_break(frame: pd.DataFrame, tmp_path: Path) -> None:
    with suspect(lambda number, prompt: INNOCENT[prompt]) as script:
        first, asking = examined(frame, tmp_path, script.url, tokens=200)
        assert asking.stopped_by == "tokens"
        assert 10 <= first.asked < PROMPTS
        second, _ = examined(frame, tmp_path, script.url)
    assert second.asked == PROMPTS
    once = [int(probe.prompt_id) for probe in PROBES.drawn(0)]
    assert sorted(prompts_seen(script)) == sorted(once + once[:20])


def test_the_stopped_rank_is_that_of_the_whole_table_at_that_look(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Stored and stopped at a look, or asked until that look: the same p-value."""
    with suspect(lambda number, prompt: STUDENT[prompt]) as script:
        found, _ = examined(frame, tmp_path, script.url)
    whole = pd.concat(
        [
            frame,
            pd.DataFrame(
                {"model": "live", "prompt_id": [str(at) for at in range(PROMPTS)], "response": STUDENT}
            ),
        ]
    ).astype({"prompt_id": str})
    (stored,) = judge(lineage.responses_of(whole), 10, last=True)
    assert found.verdicts[0].p_value == stored.p_value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lambda number, prompt: "Yes.", "carry no style"),
        (lambda number, prompt: "I am sorry, but I cannot help with that today.", "refusals"),
        (lambda number, prompt: f"Question {prompt}?", "carry no style"),
    ],
)
def test_answers_that_carry_nothing_are_inconclusive(
    frame: pd.DataFrame, tmp_path: Path, text: Callable[[int, int], str], reason: str
) -> None:
    with suspect(text) as script:
        found, _ = examined(frame, tmp_path, script.url, again=False)
    assert found.verdicts[0].verdict is Lineage.INCONCLUSIVE
    assert reason in found.verdicts[0].reason


def test_other_prompts_than_the_stored_models_had_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(LineageError, match="share 0 prompt ids"):
        shared_probes((Probe("other", "What?"),), frame)
    other = frame.assign(prompt="What else?")
    with pytest.raises(LineageError, match="reads otherwise than the probe"):
        shared_probes(PROBES.drawn(0), other)


def test_a_suspect_needs_a_name_of_its_own(frame: pd.DataFrame, tmp_path: Path) -> None:
    taken = pd.concat([frame, pd.DataFrame({"model": ["live"], "prompt_id": ["0"], "response": ["x"]})])
    with (
        suspect(lambda number, prompt: "x") as script,
        pytest.raises(LineageError, match="have a model 'live' already"),
    ):
        examined(taken, tmp_path, script.url)
    assert script.seen == []
