"""Random numbers that come with a batch, for objectives that sample.

They belong to the rows, as masks do: neither micro-batches nor resuming change them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from typing_extensions import override

from foretell.data.batches.batches import Batches
from foretell.data.batches.masking import Draws, Masked
from foretell.types import Batch


class Noisy(Batches):
    """Masked rows with uniform numbers, a function of (seed, epoch, row, position)."""

    def __init__(self, masked: Masked, seed: int) -> None:
        super().__init__()
        self.masked, self.seed = masked, seed

    @override
    def size(self, epoch: int) -> int:
        return self.masked.size(epoch)

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        batch, (epoch, _, _) = self.masked[k], self.masked.locate(k)
        _, rows = self.masked.source.rows(k)
        draws = Draws(self.seed, epoch, rows, batch.targets.shape[1])
        return replace(batch, noise=torch.from_numpy(draws.places("sample")))
