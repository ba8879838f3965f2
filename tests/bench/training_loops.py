"""The loops that are compared: ours, alone and as a fleet, a plain loop over transformers, and TRL's trainer.

All train the same first weights on the same packed rows with the same objective and fused AdamW. Every loop is a
function from a number of steps to seconds, made once and warmed up before the clock starts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.objectives.text import cross_entropy
from kdguard.distill.objectives.topk import topk_tail_kl
from kdguard.distill.students.data import TrainingData
from kdguard.distill.students.engine import Engine
from kdguard.distill.students.order import rows_at
from kdguard.distill.students.plan import Mix, Plan, Slot
from kdguard.distill.students.shapes import llama_config
from kdguard.distill.students.weights import initial_weights, to_transformers
from tests.bench.training_data import Size

MIX = Mix(text=0.5, soft=0.5)
RATE = 1e-3
DECAY = 0.1


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop.

    Attributes:
        name: As printed.
        run: Runs some steps and gives the seconds they took, device included.
        first_loss: Loss of the first batch under the first weights, found before anything is trained.
        students: Trained at once.
        build_s: Seconds until it could run, compilation included.
    """

    name: str
    run: Callable[[int], float]
    first_loss: float
    students: int
    build_s: float


def ours(
    size: Size, datas: list[TrainingData], device: torch.device, *, narrow: bool, compiled: bool
) -> Loop:
    """Our engine with one slot a data set."""
    began = time.perf_counter()
    plan = Plan(
        steps=100_000,
        rows=size.rows,
        micro_rows=size.fleet_micro_rows if len(datas) > 1 else size.rows,
        arithmetic="bfloat16" if narrow else "float32",
        compiled=compiled,
        graphed=compiled,
        warmup=0.0,
        final=1.0,
    )
    slots = [
        Slot(name=str(at), data=each, mix=MIX, seed=at, learning_rate=RATE, weight_decay=DECAY)
        for at, each in enumerate(datas)
    ]
    engine = Engine(size.shape, slots, _few(plan, size), device)
    engine.step(0)
    reading = engine.read()
    engine.plan = plan
    state = {"at": 1}

    def run(steps: int) -> float:
        started = _clock(device)
        for _ in range(steps):
            engine.step(state["at"])
            state["at"] += 1
        return _clock(device) - started

    run(size.warm)
    return Loop("", run, float(reading.text[0] + reading.soft[0]), len(datas), time.perf_counter() - began)


def _few(plan: Plan, size: Size) -> Plan:
    """The plan with as many steps as a benchmark runs, whose batches must all fit."""
    from dataclasses import replace

    return replace(plan, steps=1 + size.warm + size.timed * (size.repeats + 2))


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Packed rows for a data loader: labels, document mask by positions, and soft targets of every place."""

    def __init__(self, data: TrainingData) -> None:
        self.data = data
        assert data.soft is not None
        assert data.soft_rows is not None
        self.soft, self.soft_rows = data.soft, data.soft_rows

    def __len__(self) -> int:
        return self.data.rows

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        data, soft = self.data, self.soft
        at = self.soft_rows[row]
        places = np.flatnonzero(at >= 0)
        return {
            "input_ids": torch.from_numpy(data.tokens[row]).long(),
            "position_ids": torch.from_numpy(data.positions[row]).long(),
            "documents": torch.from_numpy(data.documents[row]),
            "places": torch.from_numpy(places),
            "top_ids": torch.from_numpy(soft.ids[at[places]]).long(),
            "top_logprobs": torch.from_numpy(soft.logprobs[at[places]]),
            "tail": torch.from_numpy(soft.tail[at[places]]),
        }


def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch; supervised places flattened over the rows."""
    length = rows[0]["input_ids"].shape[0]
    batch = {
        name: torch.stack([row[name] for row in rows]) for name in ("input_ids", "position_ids", "documents")
    }
    joined = {name: torch.cat([row[name] for row in rows]) for name in ("top_ids", "top_logprobs", "tail")}
    places = torch.cat([row["places"] + length * at for at, row in enumerate(rows)])
    return batch | joined | {"places": places, "targets": batch["input_ids"].flatten()[places]}


def kd_loss(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The mix over the supervised places, from logits of all places."""
    chosen = logits.flatten(0, 1)[batch["places"] - 1]
    soft = topk_tail_kl(chosen, batch["top_ids"], batch["top_logprobs"], batch["tail"])
    return (MIX.text * cross_entropy(chosen, batch["targets"]) + MIX.soft * soft).mean()


def block_mask(documents: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask (b, 1, t, t) that keeps documents apart."""
    from kdguard.distill.students.attention import masked

    mask = masked(documents, dtype).mask
    assert mask is not None
    return mask


def fresh_model(size: Size, device: torch.device) -> Any:
    """transformers' Llama with the weights that our slot 0 begins with."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(llama_config(size.shape))
    model.load_state_dict(to_transformers(initial_weights(size.shape, 0), size.shape), strict=False)
    return model.to(device).train()


def plain(size: Size, data: TrainingData, device: torch.device, *, narrow: bool, compiled: bool) -> Loop:
    """A careful loop over transformers: SDPA, autocast, fused AdamW, pinned prefetching loader, no waiting."""
    began = time.perf_counter()
    model = fresh_model(size, device)
    decays = [weight for weight in model.parameters() if weight.dim() > 1]
    gains = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": decays, "weight_decay": DECAY}, {"params": gains, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), fused=True)
    batches = _endless(data, size, device)
    forward = torch.compile(model) if compiled else model

    def loss_of(batch: dict[str, Tensor]) -> Tensor:
        mask = block_mask(batch["documents"], torch.bfloat16 if narrow else torch.float32)
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            logits = forward(
                batch["input_ids"], attention_mask=mask, position_ids=batch["position_ids"]
            ).logits
        return kd_loss(logits, batch)

    def step() -> Tensor:
        loss = loss_of(next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss

    def run(steps: int) -> float:
        started = _clock(device)
        for _ in range(steps):
            step()
        return _clock(device) - started

    first = step().item()
    run(size.warm)
    return Loop("", run, first, 1, time.perf_counter() - began)


def _endless(data: TrainingData, size: Size, device: torch.device) -> Any:
    """Batches in the order of our slot 0, loaded ahead by workers where there is a GPU to keep busy."""
    gpu = device.type == "cuda"
    order = rows_at(0, data.rows, 0, 4_000 * size.rows).reshape(-1, size.rows).tolist()
    loader = torch.utils.data.DataLoader(
        Rows(data),
        batch_sampler=order,
        collate_fn=collate,
        num_workers=4 if gpu else 0,
        pin_memory=gpu,
        prefetch_factor=4 if gpu else None,
    )
    for batch in loader:
        yield {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def trl(size: Size, data: TrainingData, device: torch.device, *, narrow: bool, compiled: bool) -> Loop:
    """TRL's SFTTrainer with the objective in `compute_loss`, as its users do offline distillation with it."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    began = time.perf_counter()
    gpu = device.type == "cuda"
    rows = Rows(data)
    numbers = Dataset.from_dict({"row": list(range(data.rows))})

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            mask = block_mask(inputs["documents"], torch.bfloat16 if narrow else torch.float32)
            logits = model(
                input_ids=inputs["input_ids"], attention_mask=mask, position_ids=inputs["position_ids"]
            ).logits
            return kd_loss(logits, inputs)

        def _get_train_sampler(self, *_: Any) -> Any:
            return rows_at(0, data.rows, 0, 4_000 * size.rows).tolist()

    def trainer(steps: int, watch: Any) -> Any:
        config = SFTConfig(
            output_dir=tempfile.mkdtemp(prefix="bench-"),
            per_device_train_batch_size=size.rows,
            max_steps=steps,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            weight_decay=DECAY,
            adam_beta2=0.95,
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            bf16=narrow,
            use_cpu=not gpu,
            torch_compile=compiled,
            activation_checkpointing=False,
            dataloader_num_workers=4 if gpu else 0,
            dataloader_pin_memory=gpu,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        made = Trainer(
            model=model,
            args=config,
            train_dataset=numbers,
            data_collator=lambda items: collate([rows[item["row"]] for item in items]),
            processing_class=_any_tokenizer(),
            callbacks=[watch],
        )
        made.remove_callback(PrinterCallback)
        return made

    model = fresh_model(size, device)
    first = _trl_first(trainer(1, _watch(0, device)), data, size, device, narrow=narrow)

    def run(steps: int) -> float:
        watch = _watch(max(size.warm, 3), device)
        trainer(steps + max(size.warm, 3), watch).train()
        return float(watch.seconds)

    run(1)
    return Loop("", run, first, 1, time.perf_counter() - began)


def _trl_first(trainer: Any, data: TrainingData, size: Size, device: torch.device, *, narrow: bool) -> float:
    batch = collate([Rows(data)[row] for row in rows_at(0, data.rows, 0, size.rows)])
    moved = {name: value.to(device) for name, value in batch.items()}
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=narrow):
        return float(trainer.compute_loss(trainer.model, moved))


def _watch(skipped: int, device: torch.device) -> Any:
    """A trainer callback that times the steps after the first `skipped`."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        seconds = 0.0
        _began = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == skipped:
                self._began = _clock(device)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.seconds = _clock(device) - self._began

    return Watch()


def _any_tokenizer() -> Any:
    from kdguard.distill.students.tokenizer import train_tokenizer

    return train_tokenizer(["a benchmark needs no words"], 300)


def _clock(device: torch.device) -> float:
    """Seconds: of the wall on a GPU, of this process's own work on a CPU, whose cores may be shared."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()
