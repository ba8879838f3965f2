"""Keys and values of every row, in one tensor of fixed address that grows only between steps."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUND = 64  # capacity grows in steps of this many positions


class KeyValueCache:
    """Keys and values by layer, row, head and position.

    One tensor of shape (layers, rows, kv_heads, 2, capacity, head_width), so that one write stores both, and rows
    and heads of either are one evenly strided axis, which a batched product can read in place. A row holds one
    sequence from position 0, without padding.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        kv_heads: int,
        head_width: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.store = torch.zeros(layers, rows, kv_heads, 2, 0, head_width, dtype=dtype, device=device)
        self._rows = torch.arange(rows, device=device)

    @property
    def capacity(self) -> int:
        """Positions a row can hold."""
        return self.store.shape[4]

    def ensure(self, positions: int) -> bool:
        """Make room for this many positions a row; tell whether the tensor moved."""
        if positions <= self.capacity:
            return False
        wanted = -(-positions // _ROUND) * _ROUND
        grown = self.store.new_zeros(*self.store.shape[:4], wanted, self.store.shape[5])
        grown[..., : self.capacity, :] = self.store
        self.store = grown
        return True

    def write_step(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store one position of the first m rows: positions (m,), keys and values (m, kv_heads, head_width)."""
        self.store[layer][self._rows[: positions.shape[0]], :, :, positions] = torch.stack(
            (keys, values), dim=2
        )

    def write_prompts(self, layer: int, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store whole prompts from position 0: rows (a,), keys and values (a, kv_heads, length, head_width)."""
        self.store[layer][rows, :, :, : keys.shape[2]] = torch.stack((keys, values), dim=2)

    def read(self, layer: int, rows: int, span: int) -> tuple[Tensor, Tensor]:
        """Views of the keys and the values of the first rows, each (rows, kv_heads, span, head_width)."""
        seen = self.store[layer][:rows, :, :, :span]
        return seen[:, :, 0], seen[:, :, 1]

    def copy_rows(self, sources: Tensor, targets: Tensor, span: int) -> None:
        """Copy the first positions of some rows over others, in all layers."""
        self.store[:, targets, :, :, :span] = self.store[:, sources, :, :, :span]
