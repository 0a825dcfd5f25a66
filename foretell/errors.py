"""Errors that a user can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """Wrong input by the user, in one line: where it is, what is wrong, and what to write instead.

    `what` alone may be the whole sentence. A reader of files names the `file`, the `line` (from 1; of a table, the
    row) and the `remedy` apart, and `str` joins them as `file:line: what; remedy`.
    """

    def __init__(
        self, what: str, *, file: Path | str | None = None, line: int | None = None, remedy: str | None = None
    ) -> None:
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(f"{place}{what}{f'; {remedy}' if remedy else ''}")
        self.what, self.file, self.line, self.remedy = what, file, line, remedy

    def record(self) -> dict[str, Any]:
        """The parts as `--json` prints them; None for what is not known."""
        file = None if self.file is None else str(self.file)
        return {"file": file, "line": self.line, "what": self.what, "remedy": self.remedy}
