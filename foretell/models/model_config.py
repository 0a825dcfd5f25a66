"""Settings of all models."""

from __future__ import annotations

from typing import ClassVar, Self

from foretell.config import Config


class ModelConfig(Config):
    """Base of the settings of models.

    A model trained by gradient has `build(vocabulary, counts) -> Backbone`. A `counted` one (n-grams) has
    `fit(tokens, starts, boundary, vocabulary)` instead.
    """

    counted: ClassVar[bool] = False
    """estimated from counts in one pass: no gradient, no hidden vectors"""
    made_of_runs: ClassVar[bool] = False
    """combines runs that were trained before; see `api.mixture_run`"""
    learns_as_it_reads: ClassVar[bool] = False
    """a counted model that can learn from the text it is measured on, each token after it was scored"""
    fine_tuned_as: ClassVar[str] = ""
    """shipped recipe whose settings fine-tune such a model by default; "": it has no layers to fine-tune"""

    @property
    def longest_window(self) -> int | None:
        """Tokens a training window may have; None: any number."""
        return None

    @property
    def shares_layers(self) -> bool:
        """Whether several layers use the same weights."""
        return False

    @property
    def reads_both_sides(self) -> bool:
        """Whether a position can see the text after it, as masked models need."""
        return True

    @property
    def learns_positions(self) -> bool:
        """Whether positions have learned vectors."""
        return False

    @property
    def separates_documents(self) -> bool:
        """Whether it can keep apart the documents packed into a row (`Inputs.documents`)."""
        return True

    def narrowed(self, ratio: float, where: str) -> Self:
        """The model with layers `ratio` times as wide on the same embeddings, or itself if it has no widths.

        `where` names the setting in errors.
        """
        return self
