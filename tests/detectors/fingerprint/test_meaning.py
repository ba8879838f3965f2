"""The kernel of meaning with an encoder made on the spot, offline. Its weights are random: function alone is tested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kdguard import lineage
from kdguard.cli import app
from kdguard.errors import ModelError
from kdguard.lineage import Claim
from tests.lineage.made import placed, table

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from kdguard.detectors.fingerprint import Meaning, default_tests  # noqa: E402
from kdguard.detectors.fingerprint.meaning import encoded  # noqa: E402
from tests.distill.teachers.tiny import tokenizer  # noqa: E402

TEXTS = ["a student learns", "", "the price is counted in tokens " * 30, "naïve café"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers, without its pooler, as folders of sentence encoders often are."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=320, max_position_embeddings=64, **shape)
    folder = tmp_path_factory.mktemp("encoder")
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def test_encodings_do_not_depend_on_what_stands_beside_them(encoder: Path) -> None:
    together = encoded(encoder, TEXTS)
    assert together.shape == (4, 32)
    for at, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoded(encoder, [text])[0], together[at], atol=1e-5)
    assert np.abs(together[0] - together[3]).max() > 1e-3


def test_it_stands_beside_the_wording_and_drives_no_verdict(encoder: Path) -> None:
    responses, found, controls = placed(table(prompts=12, controls=25))
    claim = Claim(named=("a",), alpha=0.05)
    plain = lineage.test(responses, found, controls, ["student"], default_tests(), claim)[0]
    beside = lineage.test(responses, found, controls, ["student"], default_tests(encoder), claim)[0]
    assert (beside.p_value, beside.evidence[0].detector) == (plain.p_value, "fingerprint.similarity")
    mine = next(one for one in beside.evidence if one.detector == "fingerprint.meaning")
    assert mine.p_value == pytest.approx(1 / 26), "the student writes with the teacher's words"
    assert encoder.name in mine.summary


def test_a_folder_that_is_not_safe_or_not_whole_is_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a folder on this machine"):
        Meaning.of(tmp_path / "nowhere")
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for file in encoder.iterdir():
        (wrong / file.name).write_bytes(file.read_bytes())
    config = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match="do not fit"):
        encoded(wrong, ["x"])
    (wrong / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="pickle"):
        Meaning.of(wrong)


def test_the_command_takes_a_folder(encoder: Path, tmp_path: Path) -> None:
    table(prompts=12, controls=25).to_csv(tmp_path / "r.csv", index=False)
    (tmp_path / "f.toml").write_text(
        '[a]\nmembers = ["teacher-a"]\nvendor = "north"\n[b]\nmembers = ["teacher-b"]\nvendor = "south"\n'
    )
    files = ["--responses", str(tmp_path / "r.csv"), "--families", str(tmp_path / "f.toml")]
    told = CliRunner().invoke(
        app,
        [
            "lineage",
            "test",
            *files,
            "--suspect",
            "student",
            "--family",
            "a",
            "--encoder",
            str(encoder),
            "--json",
        ],
    )
    assert told.exit_code == 0, told.output
    assert "fingerprint.meaning" in [one["detector"] for one in json.loads(told.stdout)["evidence"]]
