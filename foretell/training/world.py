"""The processes that train together: one, until there are several."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """The seam of data parallelism. Decisions and sums that all ranks share go through it, so that all take the same
    step, and stop, save and log together. One process needs no exchange; several override the methods."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes records and checkpoints."""
        return self.rank == 0

    def sum(self, value: int) -> int:
        """The sum over all ranks."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether it is true on some rank."""
        return flag
