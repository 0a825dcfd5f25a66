"""Checks of arguments shared by all commands, before torch is imported.

Numbers are finite and bounded, `~` is expanded, and what they name exists (see `checks`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand
from typing_extensions import override

from foretell.cli.checks import check_all

FREE_TEXT = {"prompt", "prompts", "text"}
"""parameters in which `~` has no special meaning"""
LARGEST = 2**31 - 1
"""largest integer of an option; seeds may be up to 2**63 - 1"""


class Verb(TyperCommand):
    """A command of the command line."""

    @override
    def invoke(self, ctx: Any) -> Any:
        for param in self.params:
            if param.name in ctx.params:
                ctx.params[param.name] = self.checked(str(param.name), ctx.params[param.name])
        if self.callback is not None:
            check_all(self.callback, ctx.params)
        return super().invoke(ctx)

    def checked(self, name: str, value: Any) -> Any:
        """The checked value of an argument."""
        if isinstance(value, list | tuple):
            return type(value)(self.checked(name, item) for item in value)
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter("must be a finite number", param_hint=option(name))
        if isinstance(value, int) and abs(value) > (2**63 - 1 if name == "seed" else LARGEST):
            raise typer.BadParameter(f"{value:.6g} is out of range", param_hint=option(name))
        if isinstance(value, str | Path) and str(value).startswith("~") and name not in FREE_TEXT:
            return type(value)(home(str(value)))
        return value


def option(name: str) -> str:
    """Name of the option of a parameter."""
    return "--" + name.replace("_", "-")


def home(path: str) -> str:
    """Expand `~`; unchanged if there is no such home folder."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path
