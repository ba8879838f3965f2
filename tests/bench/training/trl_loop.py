"""TRL's trainers: SFTTrainer with the offline objective in `compute_loss`, or GKDTrainer with its teacher at hand.

Runs in an environment of its own that holds trl; nothing of this project but this folder is imported.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.bench.training.batches import (
    BETAS,
    CLIP,
    LEARNING_RATE,
    WEIGHT_DECAY,
    Batch,
    Batches,
    offline_loss,
    taught_logits,
)
from tests.bench.training.plain import gradient_norm, load, loader, moved, options
from tests.bench.training.turns import Turns


def settings(given: argparse.Namespace, batches: Batches) -> dict[str, Any]:
    """Arguments that every trainer takes."""
    gpu = given.device != "cpu"
    return {
        "output_dir": tempfile.mkdtemp(prefix="bench-"),
        "max_steps": len(batches),
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": WEIGHT_DECAY,
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "max_grad_norm": CLIP,
        "optim": "adamw_torch_fused",
        "bf16": given.narrow,
        "use_cpu": not gpu,
        "torch_compile": given.compiled,
        "gradient_checkpointing": False,
        "remove_unused_columns": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def tokenizer() -> Any:
    """Any tokenizer: trainers ask for one, the rows are tokens already."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<eos>"))
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def trainer_of(given: argparse.Namespace, model: Any, batches: Batches, device: torch.device) -> Any:
    """The trainer, fed with our batches in our order."""
    dataset = importlib.import_module("datasets").Dataset.from_dict({"row": list(range(8))})
    shared = {
        "model": model,
        "train_dataset": dataset,
        "processing_class": tokenizer(),
        "data_collator": lambda items: items,
    }
    base = importlib.import_module("trl.experimental.gkd" if given.online else "trl")
    kind: Any = base.GKDTrainer if given.online else base.SFTTrainer

    class Fed(kind):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return loader(batches, device)

    class Offline(Fed):
        def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, **_: Any) -> Any:
            return offline_loss(taught_logits(model, inputs, all_positions=given.all_positions), inputs)

    if given.online:
        config = base.GKDConfig(**settings(given, batches), lmbda=0.0, beta=0.0, temperature=1.0)
        return Fed(args=config, teacher_model=load(given.folder / "teacher", device), **shared)
    return Offline(args=base.SFTConfig(**settings(given, batches)), **shared)


def watcher(turns: Turns, loss_now: Any) -> Any:
    """A callback that stops the trainer between turns."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        left = 0

        def take(self, control: Any) -> None:
            steps = turns.next(loss_now)
            control.should_training_stop = steps is None
            self.left = steps or 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not self.left:
                self.take(control)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.left -= 1
            if not self.left:
                turns.done()
                self.take(control)

    return Watch()


def main() -> None:
    """Serve turns."""
    given = options(__doc__)
    device = torch.device(given.device)
    turns = Turns(device)
    batches = Batches(Path(given.folder), packed=given.packed)
    model = load(given.folder / "student", device).train()
    trainer = trainer_of(given, model, batches, device)
    first = moved(batches[0], device)

    def loss_of() -> torch.Tensor:
        with trainer.compute_loss_context_manager():
            return trainer.compute_loss(model, dict(first), num_items_in_batch=len(first["places"]))

    def loss_now() -> float:
        with torch.no_grad():
            return loss_of().item()

    loss = loss_of()
    loss.backward()  # type: ignore[no-untyped-call]
    turns.ready(loss.item(), gradient_norm(model))
    model.zero_grad()
    trainer.add_callback(watcher(turns, loss_now))
    trainer.train()


if __name__ == "__main__":
    main()
