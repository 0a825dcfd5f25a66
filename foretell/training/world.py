"""Process group of a training run; currently one process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Rank, size and collective operations. One process needs no communication; a data-parallel group overrides the
    methods."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes records and checkpoints."""
        return self.rank == 0

    def sum(self, value: float) -> float:
        """The sum over all ranks."""
        return value

    def any(self, flag: bool) -> bool:
        """True if `flag` is true on any rank."""
        return flag
