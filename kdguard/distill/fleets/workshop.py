"""The folder in which families are made: what stands in it is done, and is not made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdguard.distill.fleets.material import make_tokenizer
from kdguard.distill.fleets.recipe import Recipe
from kdguard.distill.models import load_tokenizer
from kdguard.distill.students.shapes import Shape, llama_config, named_shape
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids
from kdguard.errors import TrainingError


@dataclass(frozen=True)
class Workshop:
    """Where one recipe is made.

    Attributes:
        folder: Holds `models/`, `answers/`, `readings/`, `checkpoints/` and the tokenizer.
        recipe: What is made there.
    """

    folder: Path
    recipe: Recipe

    def open(self) -> None:
        """Make the folder, or make sure that it is this recipe's.

        Raises:
            TrainingError: Another recipe is being made there.
        """
        note = self.folder / "recipe.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"digest": self.recipe.digest}
        if note.exists() and json.loads(note.read_text()) != told:
            raise TrainingError(
                f"{self.folder} belongs to another recipe than {self.recipe.digest}; give another folder or delete it"
            )
        with self.appearing(note) as draft:
            draft.write_text(json.dumps(told))
        if not self._tokenizer_folder.exists():
            with self.appearing(self._tokenizer_folder) as draft:
                make_tokenizer(self.recipe).save_pretrained(draft)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of all models."""
        return load_tokenizer(self._tokenizer_folder)

    def shape(self, tokenizer: Any) -> Shape:
        """The shape of all models."""
        return named_shape(self.recipe.shape, vocab=fitted_vocab(tokenizer), context=self.recipe.context)

    def has(self, name: str) -> bool:
        """Whether a model is made."""
        return self._model_file(name).exists()

    def weights(self, name: str) -> dict[str, Tensor]:
        """Weights of a made model, float32 under the names of transformers."""
        return {key: value.float() for key, value in load_file(self._model_file(name)).items()}

    def keep(self, name: str, weights: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Keep a model: weights in half precision, so that what is asked is exactly what ships; and what made it."""
        halves = {key: value.detach().to(torch.float16).contiguous() for key, value in weights.items()}
        file = self._model_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with self.appearing(file.with_suffix(".json")) as draft:
            draft.write_text(json.dumps(dict(notes), sort_keys=True))
        with self.appearing(file) as draft:
            save_file(halves, draft, metadata={"format": "pt"})

    def notes(self, name: str) -> dict[str, Any]:
        """What was noted of a made model."""
        return dict(json.loads(self._model_file(name).with_suffix(".json").read_text()))

    def model(self, name: str, tokenizer: Any) -> Any:
        """A made model as one of transformers, float32 in evaluation mode."""
        from transformers import LlamaForCausalLM

        model = LlamaForCausalLM(llama_config(self.shape(tokenizer), **special_ids(tokenizer)))
        model.load_state_dict(self.weights(name), strict=False)
        model.tie_weights()
        return model.eval()  # type: ignore[no-untyped-call]

    def weights_digest(self, name: str) -> str:
        """SHA-256 of a made model's file."""
        return hashlib.sha256(self._model_file(name).read_bytes()).hexdigest()

    def answers(self, name: str) -> Path:
        """Folder of the transcripts of a model that was asked."""
        return self.folder / "answers" / name

    def readings(self, name: str) -> Path:
        """Folder of what a model said to the probes."""
        return self.folder / "readings" / name

    def checkpoints(self, run: str) -> Path:
        """Folder of a running fleet's checkpoints."""
        return self.folder / "checkpoints" / run

    @contextmanager
    def appearing(self, place: Path) -> Iterator[Path]:
        """A place to write a file or folder to, which takes its own place when it is complete."""
        draft = place.with_name(f".{os.getpid()}.{place.name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            if draft.is_dir() and place.exists():
                shutil.rmtree(place)
            draft.replace(place)
        finally:
            if draft.is_dir():
                shutil.rmtree(draft)
            draft.unlink(missing_ok=True)

    @property
    def _tokenizer_folder(self) -> Path:
        return self.folder / "tokenizer"

    def _model_file(self, name: str) -> Path:
        return self.folder / "models" / f"{name}.safetensors"
