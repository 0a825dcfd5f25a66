"""A tracker of another package."""

from collections.abc import Mapping
from typing import ClassVar

from foretell.training.trackers import Tracked, Tracker


class Listing(Tracker):
    """Keeps what it gets."""

    opened: ClassVar[list["Listing"]] = []

    def __init__(self, tracked: Tracked):
        self.tracked, self.written, self.closed = tracked, dict[tuple[int, str], float](), False
        self.opened.append(self)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self.written |= {(step, name): value for name, value in figures.items()}

    def close(self) -> None:
        self.closed = True
