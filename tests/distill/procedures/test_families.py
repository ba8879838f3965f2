"""What each family does that no other does, on tiny models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kdguard.distill.objectives import cross_entropy, dpo, forward_kl, uld
from kdguard.distill.procedures.adversarial import Discriminator, adversarial
from kdguard.distill.procedures.beside import TeacherModel, beside, several
from kdguard.distill.procedures.cross_tokenizer import align
from kdguard.distill.procedures.inside import inside
from kdguard.distill.procedures.loop import Pace, run_loop
from kdguard.distill.procedures.on_policy import interleaved, on_policy
from kdguard.distill.procedures.part import Item, Procedure, shortened
from kdguard.distill.procedures.peers import peers
from kdguard.distill.procedures.preferences import preferences
from kdguard.distill.procedures.self_taught import internalise, moving_average
from kdguard.distill.procedures.two_stages import two_stages
from kdguard.distill.procedures.writing import Writer, prompt_of, with_answer
from kdguard.distill.students.data import Document
from kdguard.distill.students.plan import Mix, Plan
from kdguard.errors import InputError, OwnershipError, TrainingError
from tests.distill.procedures.made import (
    FAMILIES,
    OWNER,
    PLAN,
    SEED,
    items,
    mixed,
    model,
    teacher,
    tokenizer,
    writer,
)


def losses_of(procedure: Procedure, step: int = 0) -> tuple[float, float]:
    with torch.no_grad():
        found = [procedure.losses(part) for part in procedure.parts(step)]
    return sum(float(one.text) for one in found), sum(float(one.soft) for one in found)


def rows_at(procedure: Procedure, step: int = 0) -> list[int]:
    return [row for part in procedure.parts(step) for row in part.rows]


def alone(student: Any, document: Document) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and tokens of a document's taught places, without padding."""
    tokens = torch.from_numpy(document.tokens).long()
    at = torch.from_numpy(document.weights).nonzero().squeeze(-1)
    return student(input_ids=tokens[None]).logits[0, at - 1].detach(), tokens[at]


def test_padding_changes_nothing() -> None:
    student, held = model(), teacher()
    procedure = beside(student, items(), held, mixed("forward_kl", 0.5), PLAN, SEED)
    text, soft, count = 0.0, 0.0, 0
    for row in rows_at(procedure):
        logits, tokens = alone(student, items()[row].document)
        text += float(cross_entropy(logits, tokens).sum())
        soft += float(forward_kl(logits, alone(held.model, items()[row].document)[0]).sum())
        count += len(tokens)
    found = losses_of(procedure)
    assert found[0] == pytest.approx(0.5 * text / count, rel=1e-5)
    assert found[1] == pytest.approx(soft / count, rel=1e-5)


def test_a_teacher_with_a_padded_table_is_cut() -> None:
    student, held = model(), teacher()
    wide = torch.nn.functional.pad(held.model.get_input_embeddings().weight, (0, 0, 0, 64))
    padded = teacher().model
    padded.resize_token_embeddings(wide.shape[0], mean_resizing=False)
    with torch.no_grad():
        padded.get_input_embeddings().weight.copy_(wide)
        padded.get_input_embeddings().weight[-64:] = 0
    bigger = TeacherModel("teacher", padded, tokenizer())
    found = [
        losses_of(beside(student, items(), one, mixed("forward_kl"), PLAN, SEED)) for one in (held, bigger)
    ]
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


def test_domains_choose_their_teacher() -> None:
    student, first, second = model(), teacher(8, "first", ("even",)), teacher(9, "second", ("odd",))
    mix = mixed("multi_teacher_kl")
    even = [item for item in items() if item.domain == "even"]
    chosen = several(student, even, [first, second], mix, PLAN, SEED, "domain")
    single = beside(student, even, first, mixed("forward_kl"), PLAN, SEED)
    assert losses_of(chosen)[1] == pytest.approx(losses_of(single)[1], rel=1e-5)
    with pytest.raises(TrainingError, match="no teacher names the domain 'odd'"):
        several(student, items(), [first], mix, PLAN, SEED, "domain")


def test_the_average_follows_the_student() -> None:
    student = model()
    procedure = moving_average(student, items(), mixed("forward_kl"), PLAN, SEED, decay=0.75)
    assert losses_of(procedure)[1] == pytest.approx(0, abs=1e-6)  # the student is its average, still
    start = {name: value.clone() for name, value in procedure.state.items()}
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(1.0)
    procedure.after(1)
    for name, value in procedure.state.items():
        torch.testing.assert_close(value, start[name] + 0.25)


def test_a_document_is_internalised() -> None:
    student = model()
    plan = Plan(steps=30, rows=6, report_every=10)
    procedure = internalise(
        student, tokenizer(), items(), "play music " * 4, mixed("prompt_distillation"), plan, SEED
    )
    history = run_loop(procedure, plan, Pace(learning_rate=3e-3, seed=SEED)).history
    assert history[-1][2][0] < 0.7 * history[0][2][0]
    with pytest.raises(TrainingError, match="within 96 tokens of context"):
        internalise(model(), tokenizer(), items(), "word " * 400, mixed("prompt_distillation"), plan, SEED)


def test_equal_peers_have_nothing_to_tell_each_other() -> None:
    text, soft = losses_of(peers([model(), model()], items(), mixed("mutual"), PLAN, SEED))
    assert soft == pytest.approx(0, abs=1e-5)
    one = losses_of(peers([model(), model(1)], items(), mixed("mutual"), PLAN, SEED))
    assert one[1] > 1e-4
    assert text == pytest.approx(2 * losses_of(FAMILIES["text"](PLAN))[0], rel=1e-5)  # the sum over peers


def test_the_student_writes_its_share() -> None:
    student, held = model(), teacher()

    def sources(share: float) -> dict[str, int]:
        procedure = on_policy(student, items(), held, writer(student), mixed("gkd"), PLAN, SEED, share=share)
        parts = procedure.parts(0)
        assert [part.tensors["tokens"].tolist() for part in parts] == [
            part.tensors["tokens"].tolist() for part in procedure.parts(0)
        ]
        return {name: count for part in parts for name, count in part.dose.items()}

    assert sources(1.0).keys() == {"student"}
    assert sources(0.0).keys() == {"teacher"}


def test_what_the_student_wrote_is_no_text_to_learn() -> None:
    student, held, mix = model(), teacher(), Mix(text=1.0, soft=1.0, objective="gkd")

    def text_loss(share: float) -> float:
        return losses_of(on_policy(student, items(), held, writer(student), mix, PLAN, SEED, share=share))[0]

    assert text_loss(1.0) == 0
    assert text_loss(0.0) == pytest.approx(losses_of(FAMILIES["text"](PLAN))[0], rel=1e-5)


def test_what_is_written_changes_with_step_and_weights() -> None:
    student, held = model(), teacher()
    procedure = on_policy(student, items(), held, writer(student), mixed("gkd"), PLAN, SEED, share=1.0)
    before = procedure.parts(0)[0].tensors["tokens"]
    with torch.no_grad():
        student.lm_head.weight.copy_(torch.randn_like(student.lm_head.weight))
    assert procedure.parts(0)[0].tensors["tokens"].shape != before.shape or not torch.equal(
        procedure.parts(0)[0].tensors["tokens"], before
    )


def test_the_teacher_replaces_what_it_would_not_say() -> None:
    student, held = model(), teacher()
    with torch.no_grad():
        held.model.lm_head.weight.mul_(1e4)  # sure of one token everywhere
    mine, prompts = writer(student), [prompt_of(item) for item in items()[:3]]
    generator = torch.Generator().manual_seed(0)
    strict = interleaved(mine, held, prompts, 1, generator, 5)
    greedy = Writer(held.model, tokenizer(), length=96, max_tokens=6, temperature=0.0).write(prompts, 0)
    assert strict == greedy
    free = interleaved(mine, held, prompts, held.model.config.vocab_size, generator, 5)
    assert free != greedy
    assert all(1 <= len(answer) <= 6 for answer in free)


def test_a_discriminator_reads_the_last_token_alone_of_padding() -> None:
    judge = Discriminator(model(), 0)
    tokens = torch.tensor([[5, 6, 7, 8]])
    padded = torch.nn.functional.pad(tokens, (0, 3), value=9)
    lengths = torch.tensor([4])
    torch.testing.assert_close(judge(tokens, lengths), judge(padded, lengths))
    assert not torch.equal(judge(tokens, lengths), judge(tokens, lengths - 1))


def test_adversarial_training_warms_up_and_then_earns_rewards() -> None:
    student = model()
    plan = Plan(steps=4, rows=4)
    procedure = adversarial(student, items(), writer(student), mixed("gad"), plan, SEED, group=2, warm_up=0.5)
    assert losses_of(procedure, 0)[0] > 0
    assert losses_of(procedure, 2)[0] == 0  # no text once it is warm, unless the recipe says so
    reference = procedure.state["reference.model.norm.weight"]
    with torch.no_grad():
        student.model.norm.weight.add_(1.0)
    procedure.after(1)
    assert not torch.equal(reference, student.model.norm.weight)
    procedure.after(2)
    assert torch.equal(reference, student.model.norm.weight)
    with pytest.raises(TrainingError, match="'group' must be at least 2"):
        adversarial(student, items(), writer(student), mixed("gad"), plan, SEED, group=1)


def test_preferences_start_undecided_and_lead_apart() -> None:
    student, plan = model(), Plan(steps=20, rows=6, report_every=10)
    mix = mixed("dpo", beta=0.5)
    procedure = preferences(student, items(), mix, plan, SEED)
    zero = torch.zeros(1)
    undecided = float(dpo(zero, zero, zero, zero, beta=0.5))
    assert losses_of(procedure)[1] == pytest.approx(undecided, rel=1e-5)
    history = run_loop(procedure, plan, Pace(learning_rate=1e-2, seed=SEED)).history
    assert history[-1][2][0] < 0.5 * undecided
    plain = [replace(item, rejected=None) for item in items()]
    with pytest.raises(TrainingError, match="add data of kind 'preferences'"):
        preferences(student, plain, mix, plan, SEED)


def test_tokenisations_are_compared_where_the_bytes_agree() -> None:
    mine, other = tokenizer(350), tokenizer(400)
    aligned = align(items(), mine, other, 96)
    assert len(aligned) == len(items())
    for one in aligned:
        for place, there in zip(one.places, one.there, strict=True):
            assert mine.decode(one.mine.tokens[:place]) == other.decode(one.theirs.tokens[:there])
    same = align(items(), mine, mine, 96)
    assert all(one.places == one.there for one in same)
    assert sum(len(one.places) for one in same) > sum(len(one.places) for one in aligned)
    assert float(uld(torch.ones(1, 4), torch.ones(1, 4))) == 0


def test_consent_must_cover_the_teacher() -> None:
    mix = mixed("hidden_mse")
    with pytest.raises(OwnershipError, match="needs 'owner_consent'"):
        inside(model(), items(), teacher(), mix, PLAN, SEED, None)
    with pytest.raises(OwnershipError, match="not about 'another'"):
        inside(model(), items(), teacher(name="another"), mix, PLAN, SEED, OWNER)


@pytest.mark.parametrize("name", ["rkd_distance", "rkd_angle", "gram_similarity", "flow_gram"])
def test_relations_need_whole_batches(name: str) -> None:
    with pytest.raises(TrainingError, match="leave out micro_rows, got 1"):
        inside(model(), items(), teacher(), mixed(name), replace(PLAN, micro_rows=1), SEED, OWNER)


def test_widths_meet_through_projections_that_are_trained() -> None:
    procedure = inside(model(hidden=32), items(), teacher(), mixed("hidden_mse"), PLAN, SEED, OWNER)
    assert procedure.modules.keys() == {"student", "projections"}
    before = [weight.detach().clone() for weight in procedure.modules["projections"].parameters()]
    run_loop(procedure, PLAN, Pace(learning_rate=1e-2))
    for old, new in zip(before, procedure.modules["projections"].parameters(), strict=True):
        assert not torch.equal(old, new)
    with pytest.raises(TrainingError, match="as wide as its teacher, got 32 and 16"):
        inside(model(hidden=32), items(), teacher(), mixed("distilbert_triple"), PLAN, SEED, OWNER)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_inside() -> None:
    held = TeacherModel("teacher", model(eager=True), tokenizer())
    for name in ("hidden_mse", "embedding_mse", "attention_mse", "attention_kl", "rkd_angle", "flow_gram"):
        found = losses_of(inside(model(eager=True), items(), held, mixed(name), PLAN, SEED, OWNER))
        assert found == pytest.approx((0, 0), abs=1e-5), name


def test_two_stages_follow_one_another() -> None:
    student, held = model(eager=True), teacher(eager=True, layers=4)
    plan = Plan(steps=10, rows=4)
    general = [replace(item, domain="general" if place < 4 else "task") for place, item in enumerate(items())]
    procedure = two_stages(
        student, general, held, mixed("tinybert"), plan, SEED, OWNER, general=0.4, intermediate=0.3
    )
    assert set(rows_at(procedure, 0)) <= set(range(4))
    layers, middle, last = (losses_of(procedure, step)[1] for step in (0, 4, 7))
    assert layers > 0
    assert middle > 0
    rows = rows_at(procedure, 7)
    narrow = [item for item in general if item.domain == "task"]
    mine = [alone(student, narrow[row].document)[0] for row in rows]
    theirs = [alone(held.model, narrow[row].document)[0] for row in rows]
    want = forward_kl(torch.cat(mine), torch.cat(theirs)).mean()
    assert last == pytest.approx(float(want), rel=1e-4)
    with pytest.raises(TrainingError, match="general \\+ intermediate below 1"):
        two_stages(student, general, held, mixed("tinybert"), plan, SEED, OWNER, general=0.7)


def test_layer_maps_come_from_recipes() -> None:
    held = teacher(layers=4)
    for layer_map in ("uniform", "last", [[1, 2], [2, 4]]):
        inside(model(), items(), held, mixed("hidden_mse"), PLAN, SEED, OWNER, layer_map=layer_map)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="'layer_map' must be"):
        inside(model(), items(), held, mixed("hidden_mse"), PLAN, SEED, OWNER, layer_map="first")
    with pytest.raises(InputError, match="Layers are counted"):
        inside(model(), items(), held, mixed("hidden_mse"), PLAN, SEED, OWNER, layer_map=[(1, 9)])


def test_options_and_temperatures_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TrainingError, match="'born_again' has no option temperature"):
        beside(
            model(),
            items(),
            teacher(),
            Mix(text=0, soft=1, objective="born_again", temperature=2.0),
            PLAN,
            SEED,
        )
    with pytest.raises(TrainingError, match="'forward_kl' has no option heat"):
        beside(model(), items(), teacher(), mixed("forward_kl", heat=2), PLAN, SEED)
    with pytest.raises(TrainingError, match="needs more than a teacher's logits"):
        beside(model(), items(), teacher(), mixed("hidden_mse"), PLAN, SEED)


def test_long_items_lose_their_end() -> None:
    item = items()[0]
    first = len(prompt_of(item))
    (short,) = shortened([item], first + 1)
    assert np.count_nonzero(short.document.weights) == 1
    with pytest.raises(TrainingError, match="none of 1 items"):
        shortened([item], first)
    other: Item = replace(item, document=with_answer(item, prompt_of(item), [4, 5], "x"))
    assert other.document.tokens[-2:].tolist() == [4, 5]
