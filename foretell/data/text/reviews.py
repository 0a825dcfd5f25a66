"""Preparation of texts before tokenization.

`reviews` is how the byte model of Radford et al. 2017 (arXiv:1704.01444, the authors' code) was given its text, in
training and for features: each a single line between a newline with a blank and a blank, as if it stood among others.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator, Mapping
from typing import Literal, final

from typing_extensions import override

from foretell.data.text.corpus import Corpus, Source
from foretell.data.text_files import BOUNDARY, LONGEST_LINE, Piece, Report, split_pieces
from foretell.errors import ConfigError

PreparationName = Literal["none", "reviews"]
PREFIX = "reviews:"
"""before the name of a corpus: its documents as such lines"""


def prepare_text(text: str, how: PreparationName) -> str:
    """The text as the model is to read it."""
    return text if how == "none" else f"\n {one_line(text)} "


def one_line(text: str) -> str:
    """A text without HTML entities and newlines, blanks around it dropped."""
    return html.unescape(text).replace("\n", " ").strip()


def preparation_of(corpus: str | Mapping[str, str]) -> PreparationName:
    """How the text of a corpus was prepared."""
    return "reviews" if isinstance(corpus, str) and corpus.startswith(PREFIX) else "none"


def reviews_of(corpus: Corpus) -> Corpus:
    """A corpus with each document as a prepared text, without boundaries between them."""
    return Corpus(corpus.name, {split: Reviews(corpus.source(split)) for split in corpus.splits}, corpus.left_out)


@final
class Reviews(Source):
    """A stream of prepared texts: the newline that begins one is the one that ends the line before."""

    def __init__(self, documents: Source) -> None:
        self.documents = documents

    def pieces(self) -> Iterator[Piece]:
        """A line for each document; together they are one document, so that no boundary separates them."""
        held = None
        for document in self._documents():
            for text in split_pieces(f" {one_line(document.text)} \n"):
                if held is not None:
                    yield held
                held = document._replace(text=text, ends_document=False)
                document = document._replace(replaced=0, surplus=0)  # which its first piece reports
        if held is not None:
            yield held._replace(ends_document=True)

    def _documents(self) -> Iterator[Piece]:
        """The documents, whole."""
        parts: list[Piece] = []
        size = 0
        for piece in self.documents.pieces():
            parts.append(piece)
            size += len(piece.text)
            if size > LONGEST_LINE:
                raise ConfigError(
                    f"{PREFIX} a document of more than {LONGEST_LINE >> 20} million characters cannot become a line",
                    remedy=f"part it by lines {BOUNDARY}, or leave out {PREFIX}",
                )
            if piece.ends_document:
                texts, _, replaced, surplus = zip(*parts, strict=True)
                yield Piece("".join(texts), True, sum(replaced), sum(surplus))
                parts, size = [], 0

    @override
    def digest(self) -> str:
        return hashlib.blake2b(f"{PREFIX} {self.documents.digest()}".encode(), digest_size=16).hexdigest()

    @override
    def reports(self) -> dict[str, Report]:
        return self.documents.reports()
