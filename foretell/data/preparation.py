"""What is done to a text before a model reads it, beside tokenising.

`reviews` is how the byte model of Radford et al. 2017 (arXiv:1704.01444, the authors' code) was given its text, in
training and for features: each a single line between a newline with a blank and a blank, as if it stood among others.
"""

from __future__ import annotations

import html
from typing import Literal

PreparationName = Literal["none", "reviews"]


def prepare_text(text: str, how: PreparationName) -> str:
    """The text as the model is to read it."""
    return text if how == "none" else f"\n {one_line(text)} "


def one_line(text: str) -> str:
    """A text without HTML entities and newlines, blanks around it dropped."""
    return html.unescape(text).replace("\n", " ").strip()


def review_line(line: str) -> str:
    """A line of a corpus that has a review in each: a stream of such lines is a stream of prepared texts.

    The newline that begins a prepared text is the one that ends the line before.
    """
    return f" {one_line(line)} \n" if line.strip() else ""
