"""Model folders: what is unsafe is refused with the reason, what is whole survives."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from kdguard.distill.models import check_folder, digest_folder, load_model, load_tokenizer, save_model
from kdguard.errors import ModelError


def small_model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32}
    shape |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, tie_word_embeddings=False))


def small_tokenizer() -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    make: Any = transformers.PreTrainedTokenizerFast
    return make(tokenizer_object=whole)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small"
    save_model(small_model(), small_tokenizer(), path)
    return path


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit(folder: Path, name: str, **more: Any) -> None:
    path = folder / name
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | more))


def test_a_model_and_its_tokenizer_survive(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = load_model(saved), load_tokenizer(saved)
    ids = torch.tensor([tokenizer.encode("two words")])
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, small_model().eval()(ids).logits)
    assert tokenizer.decode(ids[0]) == "two words"
    assert not model.training
    assert capfd.readouterr().err == ""
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.dtype for p in load_model(saved, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


def test_the_digest_is_that_of_the_bytes(saved: Path, folder: Path) -> None:
    assert digest_folder(folder) == digest_folder(saved)
    again = save_model(load_model(saved), load_tokenizer(saved), folder.parent / "elsewhere" / "again")
    assert again == digest_folder(saved), "no path and no time may enter a model folder"
    assert save_model(small_model(1), small_tokenizer(), folder.parent / "other") != again
    (folder / "README.md").write_text("")
    assert digest_folder(folder) != again
    (folder / "README.md").rename(folder / "NOTES.md")
    renamed = digest_folder(folder)
    (folder / "NOTES.md").write_text("x")
    assert len({renamed, digest_folder(folder), again}) == 3
    with pytest.raises(ModelError, match="folder with files"):
        digest_folder(folder / "gone")


def test_saving_replaces_only_what_it_was_told_to(saved: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="exists already"):
        save_model(small_model(1), None, folder)
    assert digest_folder(folder) == digest_folder(saved)
    save_model(small_model(1), None, folder, overwrite=True)
    assert not (folder / "tokenizer.json").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(small_model(), None, folder / "config.json" / "below")


def test_what_a_killed_save_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".model.unfinished" / "new"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    save_model(small_model(), None, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def _pickle_named(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(pickle.dumps({"a": 1}))


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "weights.dat", "w") as archive:
        archive.writestr("archive/data.pkl", b"")


def _index(folder: Path) -> None:
    edit(folder, "model.safetensors.index.json", weight_map={"a": "../../other.safetensors"})


def _below(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "optimizer.pt").write_bytes(b"")


UNSAFE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickled weights beside safe ones": (_pickle_named("pytorch_model.bin"), "may be a pickle"),
    "arguments of a trainer": (_pickle_named("training_args.bin"), "may be a pickle"),
    "upper case": (_pickle_named("MODEL.PKL"), "may be a pickle"),
    "a pickle below": (_below, "optimizer.pt: may be a pickle"),
    "a pickle under another name": (_pickle_named("vocab.txt"), "is a pickle, whatever its name"),
    "an archive under another name": (_zip, "is an archive"),
    "a pickle called safetensors": (_pickle_named("model.safetensors"), "damaged or no safetensors"),
    "code": (lambda f: (f / "modeling_own.py").write_text("print()"), "is code"),
    "remote code": (lambda f: edit(f, "config.json", auto_map={"AutoModel": "a--b.C"}), "trust_remote_code"),
    "remote code of a tokenizer": (
        lambda f: edit(f, "tokenizer_config.json", extra={"auto_map": {"AutoTokenizer": ["x.Y", None]}}),
        "trust_remote_code",
    ),
    "kernels": (lambda f: edit(f, "config.json", attn_implementation="some/kernel"), "kernels from a hub"),
    "an adapter": (lambda f: edit(f, "adapter_config.json", base_model_name_or_path="x/y"), "an adapter"),
    "a path out of the folder": (_index, "not a safetensors file in this folder"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "half a configuration": (lambda f: (f / "config.json").write_text('{"model'), "must hold a JSON object"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "JSON object, got a list"),
    "no type": (lambda f: (f / "config.json").write_text("{}"), "must name a model_type"),
    "nested too deeply": (lambda f: (f / "config.json").write_text("[" * 100_000), "must hold a JSON object"),
    "a monstrous size": (lambda f: edit(f, "config.json", num_hidden_layers=10**9), "between 0 and 1000"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"holds no \*.safetensors"),
    "no folder": (shutil.rmtree, "must be a folder on this machine"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_folders_are_refused_before_anything_is_loaded(
    folder: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was loaded")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", never)
    spoil, said = UNSAFE[case]
    spoil(folder)
    with pytest.raises(ModelError, match=said):
        check_folder(folder)
    with pytest.raises(ModelError, match=said):
        load_model(folder)


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    edit(folder, "config.json", num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"do not fit: missing keys: model\.layers\.2"):
        load_model(folder)
    edit(folder, "config.json", num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"unexpected keys: model\.layers\.1"):
        load_model(folder)
    edit(folder, "config.json", num_hidden_layers=2, hidden_size=32)
    with pytest.raises(ModelError, match="model: "):
        load_model(folder)
    edit(folder, "config.json", model_type="no-such-architecture")
    with pytest.raises(ModelError, match=r"cannot be loaded: .*no-such-architecture"):
        load_model(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(folder)
    weights.write_bytes(data[:50])
    with pytest.raises(ModelError, match="damaged or no safetensors"):
        load_model(folder)


def test_a_folder_may_hold_a_tokenizer_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert load_tokenizer(folder).encode("ab") == small_tokenizer().encode("ab")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no tokenizer that can be loaded"):
        load_tokenizer(tmp_path / "empty")
