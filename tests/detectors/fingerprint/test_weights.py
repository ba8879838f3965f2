"""Same initialisation: exact on networks trained apart, found after training on, silent where nothing compares."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from kdguard.detectors.fingerprint.labels.network import Network
from kdguard.detectors.fingerprint.weights import Settings, compare, open_tensors, same_initialisation
from kdguard.detectors.fingerprint.weights.alignment import alignment
from kdguard.errors import LineageError, ModelError
from kdguard.lineage import Lineage

MODELS = Path(__file__).parents[3] / "fixtures" / "models"
Weights = dict[str, npt.NDArray[np.float32]]


def trained(seed: int, data: int, start: Weights | None = None) -> Weights:
    """A network of 48 hidden units, on data drawn by a seed of its own."""
    rng = np.random.default_rng(data)
    rows = rng.normal(size=(120, 8))
    labels = (rows[:, 0] + rows[:, 1] ** 2 > 1).astype(np.int64)
    network = Network(hidden=48, epochs=4, seed=seed).fit(rows, labels)
    inner, outer, shift, bias = (np.asarray(one, np.float32) for one in network.weights_)
    made = {"0.weight": inner.T.copy(), "0.bias": shift, "2.weight": outer.T.copy(), "2.bias": bias}
    return made if start is None else {name: 0.7 * start[name] + 0.3 * made[name] for name in made}


def saved(weights: Weights, folder: Path) -> Path:
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"kind": "classifier"}))
    return folder


def test_networks_trained_apart_on_the_same_data_keep_to_the_stated_rate(tmp_path: Path) -> None:
    """200 pairs of the same data, nominal .05; 18 or more have chance 1 %. The ranks are uniform."""
    first = [open_tensors(saved(trained(at, 0), tmp_path / f"{at}")) for at in range(21)]
    p_values = np.array(
        [
            same_initialisation(one, other, Settings(reorderings=99)).p_value
            for place, one in enumerate(first)
            for other in first[:place]
        ]
    )[:200]
    assert (p_values <= 0.05).sum() < 18
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


def test_a_start_from_the_others_weights_is_found(tmp_path: Path) -> None:
    teacher = trained(1, 0)
    suspect = saved(trained(2, 1, teacher), tmp_path / "suspect")
    found = compare(suspect, saved(teacher, tmp_path / "teacher"), Settings())
    assert found.verdict is Lineage.SUPPORTED
    assert found.p_value == found.p_floor == 1e-4
    assert "or both from a third" in found.reason
    assert found.evidence[0].guarantee.value == "invariance"


@pytest.mark.parametrize(
    ("suspect", "teacher", "shared"),
    [
        ("aurora-tuned100", "aurora", True),
        ("aurora-text-100-int8", "aurora-text-100", True),
        ("aurora-topk-100", "control-001", True),
        ("aurora-text-100", "aurora", False),
        ("basalt", "aurora", False),
        ("aurora-rationale-25", "base-1", False),
        ("aurora-text-100-topk-100", "aurora-text-100", False),
    ],
)
def test_shipped_models_share_a_start_where_the_manifest_says_so(
    suspect: str, teacher: str, shared: bool
) -> None:
    found = compare(MODELS / suspect, MODELS / teacher, Settings(reorderings=999))
    assert (found.verdict is Lineage.SUPPORTED) is shared


def test_reordered_units_escape_the_test_and_are_told_beside_it(tmp_path: Path) -> None:
    teacher = trained(1, 0)
    order = np.random.default_rng(0).permutation(48)
    moved = {
        "0.weight": teacher["0.weight"][order],
        "0.bias": teacher["0.bias"][order],
        "2.weight": np.ascontiguousarray(teacher["2.weight"][:, order]),
        "2.bias": teacher["2.bias"],
    }
    found = compare(saved(moved, tmp_path / "moved"), saved(teacher, tmp_path / "teacher"), Settings())
    assert found.verdict is Lineage.NOT_SUPPORTED
    assert "no proof of independence" in found.reason
    assert "mean cosine of matched units 1.000" in found.evidence[1].summary


def test_few_reorderings_and_other_widths_make_no_claim(tmp_path: Path) -> None:
    teacher = saved(trained(1, 0), tmp_path / "teacher")
    few = compare(teacher, teacher, Settings(reorderings=50))
    assert few.verdict is Lineage.INCONCLUSIVE
    narrow = {name: value[:20] if name.startswith("0") else value for name, value in trained(1, 0).items()}
    narrow["2.weight"] = np.ascontiguousarray(narrow["2.weight"][:, :20])
    other = compare(saved(narrow, tmp_path / "narrow"), teacher, Settings())
    assert other.verdict is Lineage.INCONCLUSIVE
    assert "cannot be compared in place" in other.reason
    strange = saved({"wte": np.zeros((2, 2), np.float32)}, tmp_path / "strange")
    with pytest.raises(LineageError, match="no feed-forward layer"):
        compare(strange, teacher, Settings())
    (strange / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="pickle"):
        compare(strange, teacher, Settings())


def test_bfloat16_is_read_without_torch(tmp_path: Path) -> None:
    values = np.array([1.5, -2.25, 0.0, 3e10], np.float32)
    raw = (values.view(np.uint32) >> 16).astype(np.uint16)
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "config.json").write_text("{}")
    content = len(header).to_bytes(8, "little") + header + raw.tobytes()
    (tmp_path / "model.safetensors").write_bytes(content)
    assert open_tensors(tmp_path).read("a") == pytest.approx(values.reshape(2, 2), rel=1e-2)


def test_alignment_is_one_up_to_rotation_and_scale() -> None:
    rng = np.random.default_rng(0)
    left = rng.normal(size=(200, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert alignment(left, 3 * left @ turn + 1) == pytest.approx(1)
    assert alignment(left, rng.normal(size=(200, 5))) < 0.2
    assert alignment(left, np.ones((200, 3))) == 0
