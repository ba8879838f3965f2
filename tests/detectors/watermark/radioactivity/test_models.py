"""The open test on models in folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from kdguard.cli import app  # noqa: E402
from kdguard.detectors.watermark.radioactivity.models import readings  # noqa: E402
from kdguard.detectors.watermark.windows import Texts, Windows  # noqa: E402
from kdguard.errors import WatermarkError  # noqa: E402
from tests.detectors.watermark.radioactivity.bigrams import KEY, SCHEME, VOCAB  # noqa: E402
from tests.distill.teachers.tiny import llama  # noqa: E402


def test_expectations_are_the_models_own(rng: np.random.Generator) -> None:
    suspect, clean = llama(VOCAB, seed=1), llama(VOCAB, seed=2)
    texts = [rng.integers(0, VOCAB, length) for length in (40, 7, 90)]
    told = list(readings(suspect, [clean], Texts.of(texts), context=64))
    whole = np.concatenate([reading.suspect for reading in told])
    assert whole.shape == (137, VOCAB)
    with torch.inference_mode():
        expected = suspect(input_ids=torch.from_numpy(texts[1][None])).logits.softmax(-1)[0]
    np.testing.assert_allclose(whole[41:47], expected[:-1].numpy(), atol=1e-5)
    np.testing.assert_allclose(whole[40], 1 / VOCAB)


def test_other_vocabularies_are_refused() -> None:
    with pytest.raises(WatermarkError, match="clean models with the suspect's tokenizer"):
        list(readings(llama(VOCAB), [llama(VOCAB + 1)], Texts.of([[1, 2]])))
    with pytest.raises(WatermarkError, match="got 0"):
        list(readings(llama(VOCAB), [], Texts.of([[1, 2]])))


def test_a_model_that_leans_to_green_is_detected_from_its_folder(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """A copy whose head was nudged along the key's greens, as learning from marked text nudges it."""
    clean, guilty = llama(VOCAB, seed=1, hidden_size=64), llama(VOCAB, seed=1, hidden_size=64)
    tokens = np.arange(VOCAB)
    green = np.stack(
        [
            SCHEME.scores(KEY.words, Windows(np.full((VOCAB, 1), token), tokens, np.zeros(VOCAB, np.int64)))
            for token in range(VOCAB)
        ]
    )
    with torch.no_grad():
        seen = torch.from_numpy(rng.integers(0, VOCAB, (60, 60)))
        states = clean.model(input_ids=seen).last_hidden_state.flatten(0, 1)
        wanted = torch.from_numpy(green)[seen.flatten()].float()
        guilty.lm_head.weight += 2 * torch.linalg.lstsq(states, wanted).solution.T
    for name, model in {"guilty": guilty, "innocent": clean, "clean": clean}.items():
        model.save_pretrained(tmp_path / name)
    (tmp_path / "mark.json").write_text(json.dumps(SCHEME.record()))
    key = tmp_path / "key"
    key.write_text(" ".join(str(word) for word in KEY.words.tolist()))
    key.chmod(0o600)
    texts = tmp_path / "read.jsonl"
    lines = [json.dumps({"token_ids": rng.integers(0, VOCAB, 60).tolist()}) for _ in range(40)]
    texts.write_text("\n".join(lines) + "\n")
    told = {}
    for name in ("guilty", "innocent"):
        asked = ["--suspect-weights", tmp_path / name, "--clean", tmp_path / "clean", "--decoys", 0]
        asked += ["--mark", tmp_path / "mark.json", "--key-file", key]
        told[name] = CliRunner().invoke(app, ["watermark", "radioactivity", str(texts), *map(str, asked)])
    assert told["guilty"].exit_code == 1, told["guilty"].output
    assert told["innocent"].exit_code == 0, told["innocent"].output
    assert "abstains" in told["innocent"].stdout
