"""Batches that grow during training: small ones first, when they teach as much as large ones.

McCandlish et al. 2018 (arXiv:1812.06162); GPT-3 (arXiv:2005.14165, table 2.1) started with 32 thousand tokens and
reached its full batch over the first 4 to 12 billion.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor
from typing_extensions import override

from foretell.config import Amount, Config
from foretell.data.batches.batches import Batches
from foretell.types import IGNORED, Batch, Inputs


class RampConfig(Config):
    """Batches grow linearly from one of `data.batches` to `times` of them joined."""

    times: int = Field(default=16, ge=2, lt=2**31)
    """final size, in batches of `data.batches`"""
    over: Amount = Amount(value=10_000, unit="steps")
    """length of the ramp: "1000steps", "4e9tokens" (padding included) or "1epochs" """

    @field_validator("over")
    @classmethod
    def _counts(cls, over: Amount) -> Amount:
        if over.unit == "seconds":
            raise ValueError(f'over = "{over}" would differ from run to run; give it in steps, tokens or epochs')
        return over

    def build(self, batches: Batches, places: int) -> Ramp:
        """Growing batches, of batches of about `places` positions."""
        return Ramp(batches, self, places)


class Ramp(Batches):
    """Batch k joins 1 + x * (times - 1) batches, rounded, where x is the share of `over` before it, at most 1.

    The number of batches before it is a sum that ends with the ramp, so batch k is a function of k alone.
    """

    def __init__(self, batches: Batches, config: RampConfig, places: int) -> None:
        super().__init__()
        self.source, self.config, self.places = batches, config, places
        self._firsts = [0]  # of each batch of the ramp, the first it joins

    def first(self, k: int) -> int:
        """The first of the batches that batch k joins."""
        while len(self._firsts) <= k and self._share(len(self._firsts) - 1) < 1:
            self._firsts.append(self._firsts[-1] + self._joined(len(self._firsts) - 1))
        grown = max(k - (len(self._firsts) - 1), 0)
        return self._firsts[k - grown] + grown * self.config.times

    def _joined(self, k: int) -> int:
        """Number of batches that batch k joins; its `first` is known."""
        return 1 + int(self._share(k) * (self.config.times - 1) + 0.5)

    def _share(self, k: int) -> float:
        """Share of the ramp before batch k; its `first` is known."""
        over, first = self.config.over, self._firsts[k]
        if over.unit == "epochs":
            epoch, place, batches = self.source.locate(first)
            return min((epoch + place / batches) / over.value, 1.0)
        return min((k if over.unit == "steps" else first * self.places) / over.value, 1.0)

    @override
    def size(self, epoch: int) -> int:
        """Number of batches that start in the epoch."""
        begin = sum(self.source.size(before) for before in range(epoch))
        return self._begun(begin + self.source.size(epoch)) - self._begun(begin)

    def _begun(self, number: int) -> int:
        """Number of batches that start before batch `number` of the source."""
        high = 1
        while self.first(high) < number:
            high *= 2
        return bisect_left(range(high + 1), number, key=self.first)

    @override
    def locate(self, k: int) -> tuple[int, int, int]:
        """In batches of the source, so that `epoch + place / batches` is how much was read."""
        return self.source.locate(self.first(k))

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        return joined([self.source[number] for number in range(self.first(k), self.first(k + 1))])


def joined(batches: Sequence[Batch]) -> Batch:
    """The rows of all batches, padded to one length."""
    if len(batches) == 1:
        return batches[0]
    if len({batch.targets.shape[1] for batch in batches}) > 1 or any(b.inputs.lengths is not None for b in batches):
        batches = [with_lengths(batch) for batch in batches]
    inputs = Inputs(**stacked([batch.inputs for batch in batches], {}))
    rest: dict[str, Any] = stacked(batches, {"targets": IGNORED, "labels": IGNORED, "target_positions": -1})
    return Batch(inputs=inputs, lr_factor=batches[0].lr_factor, **rest)


def stacked(parts: Sequence[Batch] | Sequence[Inputs], padding: Mapping[str, int]) -> dict[str, Tensor]:
    """The tensors of all parts along dimension 0, dimension 1 padded with zeros or with the value in `padding`."""
    joined: dict[str, Tensor] = {}
    for item in fields(parts[0]):
        tensors = [getattr(part, item.name) for part in parts]
        if isinstance(tensors[0], Tensor):
            flat, fill = tensors[0].dim() < 2, padding.get(item.name, 0)
            widest = 0 if flat else max(tensor.shape[1] for tensor in tensors)
            after = [0, 0] * (tensors[0].dim() - 2)  # F.pad counts dimensions from the last
            wide = tensors if flat else [F.pad(t, (*after, 0, widest - t.shape[1]), value=fill) for t in tensors]
            joined[item.name] = torch.cat(wide)
    return joined


def with_lengths(batch: Batch) -> Batch:
    """The batch with the lengths of its rows."""
    count, steps = batch.targets.shape
    lengths = torch.full((count,), steps) if batch.inputs.lengths is None else batch.inputs.lengths
    return replace(batch, inputs=replace(batch.inputs, lengths=lengths))
