"""What all verbs do with their arguments before they begin: numbers are finite, and `~` is the home folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

FREE_TEXT = {"prompt", "prompts", "text"}
"""arguments that are read as they are"""
MOST = 2**31 - 1
"""the largest whole number that an option takes; seeds go up to 2**63"""


class Verb(TyperCommand):
    """One verb of the command line."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        for param in self.params:
            if param.name in ctx.params:
                ctx.params[param.name] = self.checked(str(param.name), ctx.params[param.name])
        return super().invoke(ctx)

    def checked(self, name: str, value: Any) -> Any:
        """The value of an argument as the verb gets it."""
        if isinstance(value, list | tuple):
            return type(value)(self.checked(name, item) for item in value)
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter("it has to be a finite number", param_hint=option(name))
        if isinstance(value, int) and abs(value) > (2**63 - 1 if name == "seed" else MOST):
            raise typer.BadParameter(f"{value:.6g} is more than there can be", param_hint=option(name))
        if isinstance(value, str | Path) and str(value).startswith("~") and name not in FREE_TEXT:
            return type(value)(home(str(value)))
        return value


def option(name: str) -> str:
    """The option of a parameter."""
    return "--" + name.replace("_", "-")


def home(path: str) -> str:
    """The path with `~` replaced, where there is such a home."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path
