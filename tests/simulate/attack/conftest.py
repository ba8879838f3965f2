"""One torch thread: two of them spin on a shared machine, and sums must be the same everywhere."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
