"""One thread for torch: two that spin are slower than one on a small or busy machine."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
