"""foretell: train language models on your own text, compare them fairly, carry them over to your task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foretell.api.loading import load
    from foretell.api.mixed import Mixed
    from foretell.api.mixing import mix
    from foretell.api.train import Interrupted, train
    from foretell.api.trained import Trained
    from foretell.errors import ConfigError
    from foretell.evaluate.lines import Scored
    from foretell.recipe.loading import load_recipe
    from foretell.recipe.recipe import Recipe
    from foretell.tools.train.trials import trials
    from foretell.training.callbacks import Callback
    from foretell.training.divergence import Diverged
    from foretell.training.trackers import Tracked, Tracker

__all__ = [
    "Callback",
    "ConfigError",
    "Diverged",
    "Interrupted",
    "Mixed",
    "Recipe",
    "Scored",
    "Tracked",
    "Tracker",
    "Trained",
    "__version__",
    "load",
    "load_recipe",
    "mix",
    "train",
    "trials",
]
__version__ = "0.1.0"

_HOMES = {
    "Callback": "training.callbacks",
    "ConfigError": "errors",
    "Diverged": "training.divergence",
    "Interrupted": "api.train",
    "Mixed": "api.mixed",
    "Recipe": "recipe.recipe",
    "Scored": "evaluate.lines",
    "Tracked": "training.trackers",
    "Tracker": "training.trackers",
    "Trained": "api.trained",
    "load": "api.loading",
    "load_recipe": "recipe.loading",
    "mix": "api.mixing",
    "train": "api.train",
    "trials": "tools.train.trials",
}


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> Any:
    # note: loaded when first asked for, so that `import foretell` and `foretell --help` do not wait for torch
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"foretell.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'foretell' has no attribute {name!r}")
