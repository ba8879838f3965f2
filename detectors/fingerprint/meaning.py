"""Nearness in meaning, by an encoder of texts that lies in a local folder: evidence beside, which drives no verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from kdguard.detectors.fingerprint.cosines import cosines
from kdguard.lineage.families import Families
from kdguard.lineage.protocol import Reading
from kdguard.lineage.responses import Responses

Singles = npt.NDArray[np.float32]

_MOST_TOKENS: Final = 256
_BATCH: Final = 32


@dataclass(frozen=True)
class Meaning:
    """Mean cosine, over a family's members, between encodings of two answers to a prompt.

    An encoding is the mean of the encoder's last states over the first 256 tokens, less the mean over all answers of
    the table. What is asked moves it most; that is taken off by the double difference.

    Attributes:
        encoder: Folder of a transformers encoder and its tokenizer; safetensors, no code.
        digest: SHA-256 of the folder.
    """

    encoder: Path
    digest: str
    name: ClassVar[str] = "fingerprint.meaning"
    version: ClassVar[str] = "1"
    for_much_imitated: ClassVar[bool] = False
    contrasted: ClassVar[bool] = False

    @classmethod
    def of(cls, folder: Path) -> Meaning:
        """The test with the encoder of a folder.

        Raises:
            ModelError: The folder is not safe or not whole.
        """
        from kdguard.distill.model_folder import check_folder, digest_folder

        check_folder(folder)
        return cls(folder, digest_folder(folder))

    @property
    def summary(self) -> str:
        """Names the encoder, since another one says something else."""
        return f"near in meaning, by the encoder {self.encoder.name} (sha256 {self.digest[:12]}), to the answers of"

    def readings(
        self, responses: Responses, families: Families, wanted: npt.NDArray[np.int64]
    ) -> Iterator[Reading]:
        """Cosines in [-1, 1]; nothing is learnt of any model, so one reading ranks every control.

        Raises:
            ModelError: The folder cannot be loaded.
        """
        texts = [text or "" for text in responses.texts.to_pylist()]
        once, places = np.unique(np.array(texts, object), return_inverse=True)
        units = _units(encoded(self.encoder, list(once)))[places]
        ranks = np.zeros((len(responses.models), len(families)), np.bool_)
        ranks[:, wanted] = True
        yield Reading(cosines(csr_matrix(units), responses.answered, families), ranks)


def encoded(folder: Path, texts: Sequence[str]) -> Singles:
    """Mean of the last states of each text, shape (n, d), in batches of texts of like length.

    Raises:
        ModelError: The folder is not safe or not whole.
    """
    import torch

    from kdguard.distill.models import load_encoder, load_tokenizer

    model, tokenizer = load_encoder(folder), load_tokenizer(folder)
    most = min(_MOST_TOKENS, int(getattr(model.config, "max_position_embeddings", _MOST_TOKENS)))
    ids = tokenizer([text or " " for text in texts], truncation=True, max_length=most)["input_ids"]
    order = np.argsort([len(one) for one in ids], kind="stable")
    found = np.zeros((len(texts), int(model.config.hidden_size)), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            padded, mask = _padded([ids[at] for at in places])
            states = model(
                input_ids=torch.tensor(padded), attention_mask=torch.tensor(mask)
            ).last_hidden_state
            weight = torch.tensor(mask, dtype=states.dtype)[:, :, None]
            found[places] = ((states * weight).sum(1) / weight.sum(1).clamp(min=1)).float().numpy()
    return found


def _padded(ids: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids and which of them are real, both of shape (n, longest)."""
    lengths = np.array([len(one) for one in ids])
    mask = (np.arange(max(int(lengths.max()), 1)) < lengths[:, None]).astype(np.int64)
    padded = np.zeros_like(mask)
    padded[mask == 1] = np.concatenate([np.array(one, np.int64) for one in ids])
    return padded, mask


def _units(encodings: Singles) -> Singles:
    """Less their mean, of unit length."""
    about = encodings - encodings.mean(axis=0)
    return np.asarray(about / np.maximum(np.linalg.norm(about, axis=1, keepdims=True), 1e-9), np.float32)
