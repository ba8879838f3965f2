"""Seeds, and where the real prompts lie."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(int(os.environ.get("KDGUARD_SEED", "0")))


@pytest.fixture(scope="session")
def data() -> Path:
    folder = os.environ.get("KDGUARD_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("KDGUARD_DATA is not set: real prompts are not at hand")
    return Path(folder)
